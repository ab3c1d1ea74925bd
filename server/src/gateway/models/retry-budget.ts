import type { Clock } from '../../base/clock.ts';
import { retriesFloor, retriesFloorPerS, retriesPerCall, retriesSavedMax } from '../../base/limits.ts';

/**
 * How often the calls of one route may be tried again at a target that failed them: in proportion to its calls, so that
 * an outage is not multiplied by those who meet it, and a little besides, for routes with few calls.
 */
export class RetryBudget {
  readonly #clock: Clock;
  #tokens = retriesFloor;
  #seenAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#seenAt = clock.monotonic();
  }

  /** A call came. */
  deposit(): void {
    this.#tokens = Math.min(this.#tokens + retriesPerCall, retriesSavedMax);
  }

  /** Takes a retry. @returns whether there was one */
  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #refill(): void {
    const now = this.#clock.monotonic();
    const earned = ((now - this.#seenAt) / 1000) * retriesFloorPerS;
    this.#seenAt = now;
    if (this.#tokens < retriesFloor) this.#tokens = Math.min(this.#tokens + earned, retriesFloor);
  }
}
