import { createHash } from 'node:crypto';
import { mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Tokens } from './answer.ts';

/**
 * What reached the provider, kept by the provider itself: tests compare the gateway's books with it. In memory a ring;
 * in the file everything, each line written before the first byte of the answer, so that a killed provider has it too.
 */

export type Outcome = 'open' | 'finished' | 'cut' | 'client_aborted';

/** A request as JSON: times are epoch milliseconds with microseconds, `body` is base64. */
export interface RequestRecord {
  readonly id: number;
  readonly receivedAt: number;
  readonly method: string;
  readonly path: string;
  /** Name and value pairs in the order, case and number they came in. */
  readonly headers: readonly (readonly [string, string])[];
  /** Null when left out: longer than the limit, or pushed out by later bodies. */
  body: string | null;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  /** False where the client went away while sending. */
  readonly bodyComplete: boolean;
  model: string | null;
  outcome: Outcome;
  status: number | null;
  firstByteAt: number | null;
  endedAt: number | null;
  /** When the client went away before the answer was complete. */
  clientAbortedAt: number | null;
  chunksSent: number;
  /** Bytes given to the socket, status line and headers included. */
  bytesSent: number;
  /** What the provider charges: the output only as far as it was sent. */
  billed: Tokens | null;
}

const requestsMax = 10_000;
const bodyBytesMax = 1024 * 1024;
const bodiesBytesMax = 256 * 1024 * 1024;
const fileBodiesBytesMax = 1024 * 1024 * 1024;

/** Epoch milliseconds with a fraction; monotonic within this process. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

export class RequestLog {
  readonly #file: number | null;
  #records: RequestRecord[] = [];
  #nextId = 1;
  #bodiesBytes = 0;
  #fileBodiesBytes = 0;

  constructor(path: string | null) {
    if (path !== null) mkdirSync(dirname(path), { recursive: true });
    this.#file = path === null ? null : openSync(path, 'a', 0o600);
  }

  /** Adds a request and writes its first line. */
  received(
    request: Pick<RequestRecord, 'receivedAt' | 'method' | 'path' | 'headers' | 'bodyComplete'>,
    body: Buffer,
  ): RequestRecord {
    const record: RequestRecord = {
      id: this.#nextId++,
      ...request,
      body: body.length <= bodyBytesMax ? body.toString('base64') : null,
      bodyBytes: body.length,
      bodySha256: createHash('sha256').update(body).digest('hex'),
      model: null,
      outcome: 'open',
      status: null,
      firstByteAt: null,
      endedAt: null,
      clientAbortedAt: null,
      chunksSent: 0,
      bytesSent: 0,
      billed: null,
    };
    this.#fileBodiesBytes += body.length;
    this.#write({ ...record, ...(this.#fileBodiesBytes > fileBodiesBytesMax && { body: null }) });
    this.#records.push(record);
    this.#bodiesBytes += record.body?.length ?? 0;
    this.#trim();
    return record;
  }

  /** Writes the last line of a request, without what the first one has. */
  ended(record: RequestRecord, outcome: Outcome): void {
    record.outcome = outcome;
    record.endedAt = nowMs();
    if (outcome === 'client_aborted') record.clientAbortedAt = record.endedAt;
    const { body: _body, headers: _headers, ...rest } = record;
    this.#write(rest);
  }

  /** Up to `limit` records with ids above `after`, oldest first. */
  page(after: number, limit: number): RequestRecord[] {
    const first = this.#records[0]?.id ?? 0;
    const start = Math.max(0, after + 1 - first);
    return this.#records.slice(start, start + limit);
  }

  /** Forgets the ring; ids go on and the file stays. */
  clear(): void {
    this.#records = [];
    this.#bodiesBytes = 0;
  }

  #write(line: object): void {
    if (this.#file !== null) writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  #trim(): void {
    // A tenth at a time: shifting an array of this length once a request would cost more than the request.
    if (this.#records.length > requestsMax * 1.1) {
      for (const gone of this.#records.splice(0, this.#records.length - requestsMax)) {
        this.#bodiesBytes -= gone.body?.length ?? 0;
      }
    }
    for (const record of this.#records) {
      if (this.#bodiesBytes <= bodiesBytesMax) return;
      this.#bodiesBytes -= record.body?.length ?? 0;
      record.body = null;
    }
  }
}
