import type { Clock } from '../../base/clock.ts';
import {
  breakerFailuresMax,
  breakerOpenMs,
  breakerOpenMsMax,
  breakerProbesMax,
  breakerRetryAfterMsMax,
} from '../../base/limits.ts';

export const breakerStates = ['closed', 'half_open', 'open'] as const;
export type BreakerState = (typeof breakerStates)[number];

/** When everybody's probes are out, this is when to ask again. */
const probingMs = 1_000;

/**
 * Whether one model at one provider is called at all. Closed, it lets everybody in, until so many attempts in a row
 * failed; open, nobody, for a time that doubles each time that a probe fails; then half open: a few probes at a time, of
 * which the first to succeed closes it and the first to fail opens it again.
 */
export class Breaker {
  readonly #clock: Clock;
  #failuresInRow = 0;
  /** Monotonic milliseconds; null while closed. */
  #openUntil: number | null = null;
  #nextOpenMs = breakerOpenMs;
  #probes = 0;
  /** Counts openings and closings: what an attempt from before the last one tells is old news. */
  #era = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get state(): BreakerState {
    if (this.#openUntil === null) return 'closed';
    return this.#clock.monotonic() < this.#openUntil ? 'open' : 'half_open';
  }

  /** Nothing is remembered that a new breaker would not know. */
  get isPristine(): boolean {
    return this.#openUntil === null && this.#failuresInRow === 0;
  }

  /** Milliseconds until it is worth asking again; 0 where it is now. */
  get retryAfterMs(): number {
    if (this.#openUntil === null) return 0;
    const restMs = this.#openUntil - this.#clock.monotonic();
    if (restMs > 0) return restMs;
    return this.#probes < breakerProbesMax ? 0 : probingMs;
  }

  /** Leave to make one attempt, which must be ended; null where none may be made now. */
  enter(): Leave | null {
    const { state } = this;
    if (state === 'open' || (state === 'half_open' && this.#probes >= breakerProbesMax)) return null;
    if (state === 'half_open') this.#probes++;
    const era = this.#era;
    return new Leave((verdict) => {
      if (era === this.#era) this.#learn(verdict);
    });
  }

  #learn(verdict: Verdict): void {
    const probing = this.#openUntil !== null;
    if (probing) this.#probes--;
    switch (verdict.kind) {
      case 'none':
        return;
      case 'success':
        if (probing) this.#close();
        this.#failuresInRow = 0;
        return;
      case 'failure':
        this.#failuresInRow++;
        if (verdict.restMs !== null && verdict.restMs > 0) this.#open(Math.min(verdict.restMs, breakerRetryAfterMsMax));
        else if (probing || this.#failuresInRow >= breakerFailuresMax) this.#open(this.#lengthen());
    }
  }

  #open(ms: number): void {
    this.#openUntil = this.#clock.monotonic() + ms;
    this.#probes = 0;
    this.#era++;
  }

  #lengthen(): number {
    const openMs = this.#nextOpenMs;
    this.#nextOpenMs = Math.min(openMs * 2, breakerOpenMsMax);
    return openMs;
  }

  #close(): void {
    this.#openUntil = null;
    this.#nextOpenMs = breakerOpenMs;
    this.#probes = 0;
    this.#era++;
  }
}

type Verdict =
  | { readonly kind: 'success' | 'none' }
  /** `restMs`: how long the provider asked to be left alone; null where it did not. */
  | { readonly kind: 'failure'; readonly restMs: number | null };

/** Leave to make one attempt. It is ended once, by what was learned; whatever is said after that changes nothing. */
export class Leave {
  readonly #learn: (verdict: Verdict) => void;
  #ended = false;

  /** Made by {@link Breaker.enter} alone. */
  constructor(learn: (verdict: Verdict) => void) {
    this.#learn = learn;
  }

  /** The target answers. */
  succeed(): void {
    this.#end({ kind: 'success' });
  }

  /** The target does not answer as it should; a target that asks for a rest (milliseconds) gets it at once. */
  fail(restMs: number | null): void {
    this.#end({ kind: 'failure', restMs });
  }

  /** Nothing was learned. */
  release(): void {
    this.#end({ kind: 'none' });
  }

  #end(verdict: Verdict): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#learn(verdict);
  }
}
