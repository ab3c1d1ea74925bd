import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  createPortcullis,
  ErrorInfoSchema,
  type FinishRunRequest,
  type Portcullis,
  type PortcullisError,
  type RunEventInput,
  RunService,
  RunState,
} from '../../client/src/index.ts';
import { BadRequestSchema } from '../../client/src/gen/google/rpc/error_details_pb.ts';

/** RunService by Connect's own server, which does as each test says, and keeps what it was told. */
export class ScriptedRuns {
  /** Batches of events that it took. */
  batches: RunEventInput[][] = [];
  finished: FinishRunRequest[] = [];
  /** Idempotency keys of starts. */
  starts: (string | null)[] = [];
  onStart: () => Promise<void> | void = () => undefined;
  onEvents: (events: RunEventInput[]) => void = () => undefined;
  onFinish: () => void = () => undefined;

  readonly #server = createServer(connectNodeAdapter({ routes: (router) => this.#route(router) }));

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Forgets what it was told, and takes everything. */
  reset(): void {
    [this.batches, this.finished, this.starts] = [[], [], []];
    this.onStart = this.onEvents = this.onFinish = () => undefined;
  }

  get types(): string[] {
    return this.batches.flat().map(({ type }) => type);
  }

  /** A client that repeats once. */
  client(): Portcullis {
    const { port } = this.#server.address() as AddressInfo;
    return createPortcullis({ url: `http://127.0.0.1:${port}`, key: 'pcl_k', repeatsMax: 1 });
  }

  #route(router: ConnectRouter): void {
    router.service(RunService, {
      startRun: async ({ workflow }, { requestHeader }) => {
        this.starts.push(requestHeader.get('idempotency-key'));
        await this.onStart();
        return { run: { id: 'run_1', workflow, state: RunState.RUNNING } };
      },
      recordRunEvents: ({ events }) => {
        this.onEvents(events);
        this.batches.push(events);
        return { recorded: events.length };
      },
      finishRun: (request) => {
        this.onFinish();
        this.finished.push(request);
        return { run: { id: 'run_1', state: request.outcome }, totals: { costNanousd: 7n } };
      },
    });
  }
}

/** A refusal as a gate words it. */
export function refusal(code: string, field?: string): ConnectError {
  return new ConnectError('It is refused.', Code.InvalidArgument, undefined, [
    { desc: ErrorInfoSchema, value: { code, final: true } },
    ...(field === undefined
      ? []
      : [{ desc: BadRequestSchema, value: { fieldViolations: [{ field, description: 'No.' }] } }]),
  ]);
}

/** What a gate says that is away for so long. */
export function away(retryAfterMs: number): ConnectError {
  const value = { code: 'unavailable', retryAfter: durationFromMs(retryAfterMs) };
  return new ConnectError('Away.', Code.Unavailable, undefined, [{ desc: ErrorInfoSchema, value }]);
}

/** What a call rejects with. @throws Error when it does not */
export async function failureOf<T = PortcullisError>(work: Promise<unknown>): Promise<T> {
  return work.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: unknown) => error as T,
  );
}
