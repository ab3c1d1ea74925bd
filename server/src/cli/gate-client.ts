import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { isLoopback } from '../config/production.ts';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';
import { type Connection, findConnection } from './connection.ts';
import { CliError, type CliContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { visible } from './terminal-text.ts';

/** A gate to call. */
export interface GateClient {
  readonly url: string;
  of<S extends DescService>(service: S): Client<S>;
}

const callMs = 30_000;
const answerBytesMax = 64 * 1024 * 1024;

/** A client of the control API: Connect with JSON over HTTP/1.1. */
export function createGateClient({ url, key }: Connection): GateClient {
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '1.1',
    useBinaryFormat: false,
    defaultTimeoutMs: callMs,
    readMaxBytes: answerBytesMax,
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${key}`);
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
  const gate = createGateClient(findConnection(context));
  try {
    return await work(gate);
  } catch (error) {
    throw error instanceof ConnectError ? refusalOf(error, gate.url) : error;
  }
}

/** What a gate refused, in one line. */
export function refusalOf(error: ConnectError, url: string): CliError {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const requestId = info?.requestId || error.metadata.get('x-request-id');
  if (!requestId) return unreachable(error, url);
  const code = info?.code ?? Code[error.code].toLowerCase();
  const sentence = `${error.rawMessage} (${code}, request ${requestId})${advice(error.code)}`;
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

function advice(code: Code): string {
  switch (code) {
    case Code.Unauthenticated:
      return ' Check PORTCULLIS_KEY, or the key in credentials.json.';
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
