import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessRecord } from '../../base/access-record.ts';

/** One request and its answer, as the listener hands it to a door. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly clientAddress: string;
  readonly access: AccessRecord;
  /** Monotonic milliseconds at which the head of the request was read. */
  readonly receivedAt: number;
}

/** The value of a header that may come once; a repeated one counts as absent. */
export function header(exchange: Exchange, name: string): string | undefined {
  const values = exchange.request.headersDistinct[name];
  return values?.length === 1 ? values[0] : undefined;
}
