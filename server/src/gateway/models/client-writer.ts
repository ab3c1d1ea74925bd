import { once } from 'node:events';
import type { Exchange } from './exchange.ts';

/** Writes to the client and obeys its pace: a client that does not read stops us, until a deadline or its leaving ends the call. */
export async function write(exchange: Exchange, bytes: Buffer | string, signal: AbortSignal): Promise<void> {
  const { response, access } = exchange;
  access.bytesOut += typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length;
  if (response.write(bytes)) return;
  try {
    await once(response, 'drain', { signal });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

/** Ends the answer with its last bytes. */
export function end(exchange: Exchange, bytes: Buffer | string | null): void {
  if (bytes !== null) exchange.access.bytesOut += typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length;
  exchange.response.end(bytes ?? undefined);
}
