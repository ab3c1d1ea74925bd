import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { compressionBrotli, compressionGzip, createNodeHttpClient } from '@connectrpc/connect-node';
import { createTransport } from '@connectrpc/connect/protocol-connect';
import { isLoopback } from '../config/production.ts';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';
import { type Connection, findConnection } from './connection.ts';
import { CliError, type CliContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { repeatedWrites } from './repeated-writes.ts';
import { findSigner, type RequestSigner, signedClient } from './request-signing.ts';
import { visible } from './terminal-text.ts';

/** A gate to call. */
export interface GateClient {
  readonly url: string;
  of<S extends DescService>(service: S): Client<S>;
}

const callMs = 30_000;
const answerBytesMax = 64 * 1024 * 1024;

/**
 * A client of the control API: Connect with JSON over HTTP/1.1. Its writes have keys, and are repeated under them; with a
 * signer each request is signed, repetitions anew.
 */
export function createGateClient({ url, key, renew }: Connection, signer: RequestSigner | null): GateClient {
  const client = createNodeHttpClient({ httpVersion: '1.1' });
  const transport = createTransport({
    baseUrl: url,
    httpClient: signer === null ? client : signedClient(client, signer),
    useBinaryFormat: false,
    defaultTimeoutMs: callMs,
    readMaxBytes: answerBytesMax,
    writeMaxBytes: answerBytesMax,
    acceptCompression: [compressionGzip, compressionBrotli],
    sendCompression: null,
    compressMinBytes: 1024,
    interceptors: [
      repeatedWrites,
      (next) => async (request) => {
        request.header.set('authorization', `Bearer ${renew ? await renew() : key}`);
        return next(request);
      },
    ],
  });
  return { url, of: (service) => createClient(service, transport) };
}

/**
 * Runs `work` with the gate that the environment names.
 * @throws CliError for whatever the gate refuses, in one line with its code, the request id and what to do
 */
export async function withGate<T>(context: CliContext, work: (gate: GateClient) => Promise<T>): Promise<T> {
  const connection = findConnection(context);
  const gate = createGateClient(connection, findSigner(context));
  try {
    return await work(gate);
  } catch (error) {
    throw error instanceof ConnectError ? refusalOf(error, gate.url, connection.renew !== undefined) : error;
  }
}

/** What a gate refused, in one line. */
export function refusalOf(error: ConnectError, url: string, isLogin = false): CliError {
  // What went wrong on this side, before anything was sent.
  if (error.cause instanceof CliError) return error.cause;
  const info = error.findDetails(ErrorInfoSchema)[0];
  const requestId = info?.requestId || error.metadata.get('x-request-id');
  if (!requestId) return unreachable(error, url);
  const code = info?.code ?? Code[error.code].toLowerCase();
  const sentence = `${error.rawMessage} (${code}, request ${requestId})${advice(error.code, isLogin)}`;
  return new CliError(visible(sentence), exitCodeOf(error.code));
}

/** Each answer of a gate has a request id: whatever failed without one met no gate. */
function unreachable(error: ConnectError, url: string): CliError {
  const cause = error.cause instanceof Error && 'code' in error.cause ? String(error.cause.code) : error.rawMessage;
  const start = isLoopback(new URL(url).hostname) ? ': start one with `npm start`' : '';
  return new CliError(visible(`No gate answers at ${url} (${cause})${start}.`), exitCodes.unreachable);
}

function exitCodeOf(code: Code): number {
  return code === Code.Unauthenticated || code === Code.PermissionDenied ? exitCodes.denied : exitCodes.failed;
}

function advice(code: Code, isLogin: boolean): string {
  switch (code) {
    case Code.Unauthenticated:
      if (isLogin) return ' Your login may have ended: run `portcullis login`.';
      return ' Check PORTCULLIS_KEY, or the key in credentials.json, and PORTCULLIS_SIGNING_KEY_FILE where requests must be signed.';
    case Code.PermissionDenied:
      return ' Use a key with that scope; `portcullis whoami` lists what yours has.';
    case Code.Unimplemented:
      return ' The gate is older than this command: update it.';
    case Code.Internal:
      return ' The request id finds the cause in the log of the gate.';
    default:
      return '';
  }
}
