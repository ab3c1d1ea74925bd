import { Code, ConnectError } from '@connectrpc/connect';
import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { inRequest } from '../pg/request-scope.ts';

/**
 * Runs `work` as one request: its statements on `pool` end when the client's deadline passes, or the client leaves, or after
 * `maxMs`.
 * @param signal Connect's, which aborts for the first two
 * @throws PortcullisError deadline_exceeded, client_closed, and what `work` throws
 */
export async function withinDeadline<T>(
  pool: Pool,
  signal: AbortSignal,
  maxMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const ending = new AbortController();
  const end = () => ending.abort(whyEnded(signal.reason));
  const timer = setTimeout(() => ending.abort(deadlineExceeded()), maxMs);
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  try {
    ending.signal.throwIfAborted();
    return await inRequest(pool, ending.signal, work);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}

function whyEnded(reason: unknown): PortcullisError {
  if (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) return deadlineExceeded();
  return new PortcullisError('client_closed', 'The client left before the answer, so its request was stopped.');
}

function deadlineExceeded(): PortcullisError {
  return new PortcullisError(
    'deadline_exceeded',
    'The deadline of this request passed before it was done, so it was stopped: give it more time, or ask for less.',
  );
}
