import { PortcullisError } from './errors.ts';
import { after, timerMsMax } from './timer.ts';

/** Before the first repetition, in milliseconds; before each further one three times as long. */
const pauseMs = 200;
const growth = 3;
/** Of what is added to the time that a rate limit names, so that those who wait come spread out. */
const spreadGrowth = 2;
const pauseMsMax = 10_000;

/** What bounds a call and its repetitions together. */
export interface CallBounds {
  readonly signal: AbortSignal | undefined;
  /** Undefined or Infinity: no deadline. */
  readonly timeoutMs: number | undefined;
  /**
   * How many tries follow the first at most. A rate limit that says how long to wait is no failure: within a deadline such tries
   * are not counted. 0 is none of any kind.
   */
  readonly repeatsMax: number;
}

/** How long one call goes on: its deadline, its signal, and the tries that are left. */
export class Patience {
  readonly #bounds: CallBounds;
  readonly #endsAt: number;
  #repeats = 0;
  #waits = 0;

  constructor(bounds: CallBounds) {
    this.#bounds = bounds;
    this.#endsAt = performance.now() + (bounds.timeoutMs ?? Infinity);
  }

  /** Whole milliseconds until the deadline, at least one; undefined without a deadline. */
  get remainingMs(): number | undefined {
    if (this.#endsAt === Infinity) return undefined;
    return Math.min(Math.max(1, Math.ceil(this.#endsAt - performance.now())), timerMsMax);
  }

  /** There was progress: tries are counted anew. */
  renew(): void {
    this.#repeats = 0;
    this.#waits = 0;
  }

  /**
   * Waits until it is time for another try.
   * @throws PortcullisError the failure itself where no other try may follow, or comes too late; `cancelled` on abort
   */
  async another(failure: PortcullisError): Promise<void> {
    const { signal, repeatsMax } = this.#bounds;
    if (!mayPass(failure) || repeatsMax === 0) throw failure;
    const isCounted = !isRateLimit(failure) || this.#endsAt === Infinity;
    if (isCounted && this.#repeats >= repeatsMax) throw failure;
    const waitMs = (failure.retryAfterMs ?? 0) + (isCounted ? this.#pauseMs() : this.#spreadMs());
    if (performance.now() + waitMs >= this.#endsAt) throw failure;
    if (isCounted) this.#repeats++;
    else this.#waits++;
    await sleep(waitMs, signal);
  }

  #pauseMs(): number {
    return Math.min(pauseMs * growth ** this.#repeats, pauseMsMax) * (0.5 + Math.random() / 2);
  }

  #spreadMs(): number {
    return Math.min(pauseMs * spreadGrowth ** this.#waits, pauseMsMax) * Math.random();
  }
}

/** Whether the same request may be answered otherwise a little later. Refusals by decision are final. */
export function mayPass(failure: PortcullisError): boolean {
  if (failure.final) return false;
  switch (failure.code) {
    case 'unreachable':
    case 'unavailable':
    case 'cannot_verify':
    case 'in_progress':
      return true;
    default:
      return isRateLimit(failure);
  }
}

/** A limit that names the time after which another try may pass. */
function isRateLimit({ code, retryAfterMs }: PortcullisError): boolean {
  return (code === 'rate_limited' || code === 'resource_exhausted') && retryAfterMs !== undefined;
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(new PortcullisError('cancelled', 'The call was cancelled.', { cause: signal?.reason }));
    };
    const timer = after(ms, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
