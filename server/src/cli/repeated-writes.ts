import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { getOption } from '@bufbuild/protobuf';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';
import { Access, access } from '../gen/portcullis/v1/options_pb.ts';

/** Before the second try, and so on: after the last of them nothing is tried again. */
const pausesMs = [200, 600, 1_800];

/**
 * Gives each write an Idempotency-Key of its own and repeats it under that key when its answer got lost or the gate could
 * not do it: it happens once all the same.
 */
export const repeatedWrites: Interceptor = (next) => async (request) => {
  if (request.stream || getOption(request.method, access) !== Access.WRITE) return next(request);
  request.header.set('idempotency-key', randomUUID());
  for (const pauseMs of pausesMs) {
    try {
      return await next(request);
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      if (!mayPass(error)) throw error;
      await pause(pauseMs, undefined, { signal: request.signal }).catch(() => {
        throw error;
      });
    }
  }
  return next(request);
};

/** Whether no answer came, or one that says that another try may do better. */
function mayPass(error: ConnectError): boolean {
  if (error.findDetails(ErrorInfoSchema)[0]?.final === true) return false;
  const { code, cause } = error;
  return code === Code.Unavailable || code === Code.Aborted || (cause instanceof Error && 'code' in cause);
}
