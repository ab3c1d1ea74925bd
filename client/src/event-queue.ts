import { toBinary } from '@bufbuild/protobuf';
import { PortcullisError } from './errors.ts';
import { type RunEventOptions, toEvent } from './event.ts';
import { type RunEventInput, RunEventInputSchema } from './gen/portcullis/v1/run_event_pb.ts';
import { mayPass } from './patience.ts';
import { after } from './timer.ts';

/** A batch is sent when it has so many. The gate takes 1,000, and 1 MiB. */
const batchEventsMax = 500;
const batchBytesMax = 512 * 1024;
/** What may wait, while a gate is away. */
const queuedEventsMax = 10_000;
const queuedBytesMax = 32 * 1024 * 1024;

/** After the first failure; after each further one twice as long. */
const pauseMs = 1_000;
const pauseMsMax = 30_000;
/** Of one batch, by their places: then all of it is lost, since each costs a request. */
const refusalsMax = 5;

/** Sends a batch: each event has an id, so that one which is told twice is one. The last time there is no other after it. */
type Tell = (events: RunEventInput[], isLastTime: boolean) => Promise<unknown>;

interface Queued {
  readonly event: RunEventInput;
  readonly bytes: number;
}

/**
 * Events of a run on their way: told in batches, in their order, each once. What a gate that is away does not take now is
 * kept and told later; what is lost is counted, with the reason of the first.
 */
export class EventQueue {
  readonly #tell: Tell;
  readonly #flushMs: number;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires: `performance.now()`, as what follows. */
  #dueAt = Infinity;
  /** Before it nothing is sent by itself. */
  #restsUntil = 0;
  #failures = 0;
  #draining: Promise<void> | undefined;
  #lost = 0;
  #reason: PortcullisError | undefined;
  #closed = false;

  constructor(tell: Tell, flushMs: number) {
    this.#tell = tell;
    this.#flushMs = flushMs;
  }

  /** Never waits. What cannot be told is told by `close`. @throws PortcullisError when it is closed */
  add(options: RunEventOptions): void {
    if (this.#closed) throw new PortcullisError('conflict', 'The run is over: nothing tells its events any more.');
    if (this.#queue.length >= queuedEventsMax || this.#queuedBytes >= queuedBytesMax) {
      return this.#lose(1, new PortcullisError('resource_exhausted', 'Too many events were waiting for the gate.'));
    }
    try {
      const event = toEvent(options);
      const bytes = toBinary(RunEventInputSchema, event).length;
      this.#queue.push({ event, bytes });
      this.#queuedBytes += bytes;
    } catch (thrown) {
      return this.#lose(1, PortcullisError.from(thrown));
    }
    if (this.#queue.length >= batchEventsMax) this.#drainSoon(0);
    else this.#drainSoon(this.#flushMs);
  }

  /** Tells what waits. @throws PortcullisError when the gate did not take it; it then waits on */
  async flush(): Promise<void> {
    // What is under way may have begun before the last event came.
    await this.#draining?.catch(() => undefined);
    await this.#drain();
  }

  /** Tells what waits, for the last time. @returns what was lost and why; null for nothing */
  async close(): Promise<PortcullisError | null> {
    this.#closed = true;
    try {
      await this.flush();
    } catch (error) {
      this.#lose(this.#queue.length, PortcullisError.from(error));
    } finally {
      clearTimeout(this.#timer);
    }
    if (!this.#reason) return null;
    const { code, message, rule, requestId, final } = this.#reason;
    const sentence = `${this.#lost} ${this.#lost === 1 ? 'event was' : 'events were'} lost: ${message}`;
    return new PortcullisError(code, sentence, { rule, requestId, final, cause: this.#reason });
  }

  #drainSoon(ms: number): void {
    const now = performance.now();
    const dueAt = Math.max(now + ms, this.#restsUntil);
    if (this.#closed || dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = after(dueAt - now, () => {
      this.#dueAt = Infinity;
      // What was not taken now is tried again, at the latest by `close`, which tells of it.
      void this.#drain().catch(() => undefined);
    });
  }

  #drain(): Promise<void> {
    this.#draining ??= this.#tellAll().finally(() => {
      this.#draining = undefined;
    });
    return this.#draining;
  }

  async #tellAll(): Promise<void> {
    let refusals = 0;
    while (this.#queue.length > 0) {
      const batch = this.#batch();
      try {
        await this.#tell(
          batch.map(({ event }) => event),
          this.#closed,
        );
        this.#remove(0, batch.length);
        [refusals, this.#failures] = [0, 0];
      } catch (thrown) {
        const error = PortcullisError.from(thrown);
        if (!isRefusal(error, batch)) {
          this.#rest(error);
          throw error;
        }
        // One event that is refused takes no other with it, where the gate says which.
        const place = placeOf(error);
        const isOne = place !== null && place < batch.length && refusals < refusalsMax;
        const [at, count] = isOne ? [place, 1] : [0, batch.length];
        refusals = isOne ? refusals + 1 : 0;
        this.#remove(at, count);
        this.#lose(count, error);
      }
    }
  }

  /** After a failure nothing is sent for a while, however much is added. */
  #rest({ retryAfterMs = 0 }: PortcullisError): void {
    const pause = Math.min(pauseMs * 2 ** this.#failures++, pauseMsMax) * (0.5 + Math.random() / 2);
    this.#restsUntil = performance.now() + Math.max(retryAfterMs, pause);
    // A timer that was to fire before would find nothing else.
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
    this.#drainSoon(0);
  }

  #batch(): Queued[] {
    let bytes = 0;
    const tooMany = this.#queue.findIndex((queued, i) => {
      bytes += queued.bytes;
      return i > 0 && (bytes > batchBytesMax || i >= batchEventsMax);
    });
    return this.#queue.slice(0, tooMany === -1 ? undefined : tooMany);
  }

  #remove(at: number, count: number): void {
    for (const { bytes } of this.#queue.splice(at, count)) this.#queuedBytes -= bytes;
  }

  #lose(count: number, reason: PortcullisError): void {
    this.#lost += count;
    this.#reason ??= reason;
  }
}

/** Whether a batch will not be taken later either. Of one event alone that is so unless the gate is away. */
function isRefusal(error: PortcullisError, batch: readonly Queued[]): boolean {
  if (error.final) return true;
  const isAway = mayPass(error) || error.code === 'deadline_exceeded' || error.code === 'cancelled';
  return batch.length === 1 && !isAway;
}

/** The place of the event in its batch that a refusal names. */
function placeOf({ details }: PortcullisError): number | null {
  const place = /^events\[(\d+)\]/.exec(details.violations[0]?.field ?? details.param ?? '')?.[1];
  return place === undefined ? null : Number(place);
}
