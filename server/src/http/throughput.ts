import type { Clock } from '../base/clock.ts';

const seconds = 60;
// 24 buckets a decade from 0.1 ms: a quantile is off by 5% of its value at most, whatever the number of samples.
const perDecade = 24;
const decades = 7;
const lowestMs = 0.1;

/** Model calls of the last minute, and their latencies in a histogram of fixed size. Aggregates only, no samples. */
export class ThroughputMeter {
  readonly #clock: Clock;
  readonly #counts = new Float64Array(seconds);
  readonly #stamps = new Float64Array(seconds).fill(-1);
  readonly #histogram = new Float64Array(perDecade * decades + 1);
  #total = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  record(latencyMs: number): void {
    const second = Math.floor(this.#clock.monotonic() / 1000);
    const slot = second % seconds;
    if (this.#stamps[slot] !== second) {
      this.#stamps[slot] = second;
      this.#counts[slot] = 0;
    }
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
    this.#total += 1;
    const bucket = Math.ceil(Math.log10(Math.max(latencyMs, lowestMs) / lowestMs) * perDecade);
    const bounded = Math.min(bucket, this.#histogram.length - 1);
    this.#histogram[bounded] = (this.#histogram[bounded] ?? 0) + 1;
  }

  get total(): number {
    return this.#total;
  }

  /** Calls a second, over the last 60. */
  perSecond(): number {
    const now = Math.floor(this.#clock.monotonic() / 1000);
    let sum = 0;
    for (const [slot, stamp] of this.#stamps.entries()) if (stamp > now - seconds) sum += this.#counts[slot] ?? 0;
    return Math.round((sum / seconds) * 100) / 100;
  }

  /** Milliseconds; zeros before the first call. */
  latency(): { p50: number; p95: number; p99: number; count: number } {
    return { p50: this.#quantile(0.5), p95: this.#quantile(0.95), p99: this.#quantile(0.99), count: this.#total };
  }

  #quantile(q: number): number {
    let left = q * this.#total;
    if (left === 0) return 0;
    for (const [bucket, count] of this.#histogram.entries()) {
      left -= count;
      if (left <= 0) return Math.round(lowestMs * 10 ** (bucket / perDecade) * 100) / 100;
    }
    return 0;
  }
}
