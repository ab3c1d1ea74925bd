import { unreadAnswerMs, unreadBodyMs } from '../../base/limits.ts';
import type { Exchange } from './exchange.ts';

/** Ends the answer with its last bytes; the connection of a client that does not take them is closed in the end. */
export function end({ response, access }: Exchange, bytes: Buffer | string | null): void {
  if (bytes !== null) access.bytesOut += Buffer.byteLength(bytes);
  response.setTimeout(unreadAnswerMs);
  response.end(bytes ?? undefined);
}

/**
 * Ends an answer whose request was not read to its end. Closing at once would reset the connection under a client that
 * still sends, and take the answer away from it (RFC 9112, 9.6): for a short time the rest is read and thrown away.
 */
export function endUnread({ request, response, access }: Exchange, bytes: string): void {
  access.bytesOut += Buffer.byteLength(bytes);
  response.write(bytes);
  const close = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(close, unreadBodyMs);
  request.once('close', close).resume();
}
