import { setTimeout as pause } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';

// Before each try while nothing comes: a gate that starts anew, or another one in its place, has a minute.
const pausesMs = [200, 600, 1_800, 5_000, 10_000, 15_000, 30_000];

interface ResumableStream<T> {
  /** Where it begins here; its beginning unless it is given. */
  readonly from?: string;
  /** Opens it behind a position; empty is its beginning. */
  readonly open: (position: string) => AsyncIterable<T>;
  readonly isLast: (message: T) => boolean;
  /** Told of each break, with why. */
  readonly onBreak: (why: string) => void;
}

/**
 * The messages of a stream, to the last. One that breaks goes on where it was, once something has come.
 * @throws ConnectError what ends it for good
 */
export async function* resumed<T extends { readonly position: string }>({
  from = '',
  open,
  isLast,
  onBreak,
}: ResumableStream<T>): AsyncGenerator<T> {
  let position = from;
  let hasCome = false;
  for (let failures = 0; ;) {
    try {
      for await (const message of open(position)) {
        yield message;
        if (isLast(message)) return;
        ({ position } = message);
        hasCome = true;
        failures = 0;
      }
      throw new ConnectError('the stream ended before its last message', Code.DataLoss);
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      // A stream ends with its credential. A login has another by now; a key that was revoked is refused at once.
      const mayGoOn = isBreak(error) || (failures === 0 && error.code === Code.Unauthenticated);
      const pauseMs = pausesMs[failures++];
      if (!hasCome || pauseMs === undefined || !mayGoOn) throw error;
      onBreak(error.rawMessage);
      await pause(pauseMs);
    }
  }
}

const forGood: readonly Code[] = [Code.Unauthenticated, Code.PermissionDenied, Code.Unimplemented, Code.NotFound];

/** Whether it may go on: the connection broke, or the gate says that this passes. */
function isBreak(error: ConnectError): boolean {
  const info = error.findDetails(ErrorInfoSchema)[0];
  if (info) return !info.final && error.code !== Code.Internal;
  return !forGood.includes(error.code);
}
