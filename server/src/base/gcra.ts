import type { Clock } from './clock.ts';

/** A rate: `perMinute` calls refilled evenly, of which `burst` may come at once. */
export interface Rate {
  readonly perMinute: number;
  readonly burst: number;
}

export interface RateVerdict {
  readonly allowed: boolean;
  /** Whole calls that would still be let through now. */
  readonly remaining: number;
  /** Seconds until the next call would be let through (0 when one would be now). */
  readonly retryAfterS: number;
  /** Seconds until the bucket is full again. */
  readonly resetS: number;
}

// Times are fractions of milliseconds, whose sums are off by a hair: without this a call that is just due would be refused.
const toleranceMs = 0.001;

/**
 * Rate limits by the generic cell rate algorithm (ITU-T I.371): one number per key, the theoretical arrival time, gives
 * true refill and burst with no window edges. Bounded: a full store drops only buckets that are full again (they hold
 * nothing), and refuses new keys when there is none.
 */
export class RateLimiter {
  readonly #arrivals = new Map<string, number>();
  readonly #clock: Clock;
  readonly #capacity: number;
  /** When a full store may be swept again: a flood of new keys must not cost a scan each. */
  #sweepAfter = 0;

  constructor(clock: Clock, capacity: number) {
    this.#clock = clock;
    this.#capacity = capacity;
  }

  /** Takes one call from the bucket `key`. */
  take(key: string, rate: Rate): RateVerdict {
    const now = this.#clock.monotonic();
    const interval = 60_000 / rate.perMinute;
    const known = this.#arrivals.get(key);
    if (known === undefined && !this.#makeRoom(now)) {
      return { allowed: false, remaining: 0, retryAfterS: 1, resetS: 1 };
    }
    const arrival = Math.max(known ?? now, now);
    const next = arrival + interval;
    const earliest = next - interval * rate.burst;
    if (earliest > now + toleranceMs) {
      return { allowed: false, remaining: 0, retryAfterS: (earliest - now) / 1000, resetS: (arrival - now) / 1000 };
    }
    this.#arrivals.set(key, next);
    const remaining = Math.max(0, Math.floor((now - earliest + toleranceMs) / interval));
    return { allowed: true, remaining, retryAfterS: 0, resetS: (next - now) / 1000 };
  }

  get size(): number {
    return this.#arrivals.size;
  }

  #makeRoom(now: number): boolean {
    if (this.#arrivals.size < this.#capacity) return true;
    if (now < this.#sweepAfter) return false;
    this.#sweepAfter = now + 1000;
    for (const [key, arrival] of this.#arrivals) if (arrival <= now) this.#arrivals.delete(key);
    return this.#arrivals.size < this.#capacity;
  }
}
