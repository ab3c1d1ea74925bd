import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import type { Body } from './doors.ts';

const protoFolder = resolve(import.meta.dirname, '../../proto');
const files = readdirSync(resolve(protoFolder, 'portcullis/v1')).map((file) => `portcullis/v1/${file}`);
const schema = loadSync(files, { includeDirs: [protoFolder], longs: String, enums: String });

/** What came of a call, as a stock client sees it. */
export interface GrpcOutcome {
  readonly code: status;
  /** The sentence of a refusal; empty otherwise. */
  readonly sentence: string;
  /** Null for a refusal. */
  readonly answer: Body;
  /** Headers and trailers together, the first value of each. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A gRPC client that knows the schema and nothing else of ours. */
export class StockClient {
  readonly #client: Client;

  /** @param url of a listener that speaks gRPC, without TLS unless `channel` says otherwise */
  constructor(url: string, channel = credentials.createInsecure()) {
    this.#client = new Client(new URL(url).host, channel);
  }

  /** @param method as in `RunService/StartRun`; of a stream it is answered with the first message */
  call(method: string, request: object = {}, headers: Readonly<Record<string, string>> = {}): Promise<GrpcOutcome> {
    const { path, requestSerialize, responseDeserialize, responseStream } = methodOf(method);
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const options = { deadline: Date.now() + 60_000 };
    return new Promise((answered) => {
      const heard: Record<string, string> = {};
      const hear = (more: Metadata) => {
        for (const [name, value] of Object.entries(more.getMap())) heard[name] = value.toString();
      };
      const answer = (error: ServiceError | null, message: Body = null) => {
        if (error) hear(error.metadata);
        const [code, sentence] = error ? [error.code, error.details] : [status.OK, ''];
        answered({ code, sentence, answer: message, metadata: heard });
      };
      if (responseStream) {
        const stream = this.#client.makeServerStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          options,
        );
        stream.on('metadata', hear).on('error', answer);
        stream.on('end', () => answer(null));
        stream.on('data', (first: Body) => {
          answer(null, first);
          stream.cancel();
        });
        return;
      }
      this.#client
        .makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          options,
          (error, message: Body) => answer(error, message),
        )
        .on('metadata', hear);
    });
  }

  close(): void {
    this.#client.close();
  }
}

function methodOf(method: string): MethodDefinition<object, Body> {
  const [service = '', name = ''] = method.split('/');
  const definition = schema[`portcullis.v1.${service}`] as unknown as
    | Record<string, MethodDefinition<object, Body>>
    | undefined;
  const found = definition?.[name];
  if (!found) throw new Error(`The schema has no method ${method}.`);
  return found;
}
