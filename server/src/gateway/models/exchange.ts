import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessRecord } from '../../base/access-record.ts';
import type { Presented } from '../../identity/certificates/presented.ts';

/** One request and its answer, as the listener hands it to a door. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly clientAddress: string;
  /** The client certificate of its connection, or that a trusted proxy told of. */
  readonly certificate: Presented;
  readonly access: AccessRecord;
  /** Monotonic milliseconds at which the head of the request was read. */
  readonly receivedAt: number;
}

/** The value of a header that may come once, by its lower-case name; a repeated one counts as absent. */
export function header({ request }: Exchange, name: string): string | undefined {
  // Node's own view of headers that repeat (`headersDistinct`) is made of all headers when first asked for.
  const { rawHeaders } = request;
  let value: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const raw = rawHeaders[i];
    if (raw === undefined || raw.length !== name.length || raw.toLowerCase() !== name) continue;
    if (value !== undefined) return undefined;
    value = rawHeaders[i + 1];
  }
  return value;
}
