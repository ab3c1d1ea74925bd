import type { Clock } from '../../base/clock.ts';
import {
  breakerFailuresMax,
  breakerOpenMs,
  breakerOpenMsMax,
  breakerProbeMs,
  breakerProbesMax,
  breakerRetryAfterMsMax,
} from '../../base/limits.ts';

export const breakerStates = ['closed', 'half_open', 'open'] as const;
export type BreakerState = (typeof breakerStates)[number];

/**
 * Whether one model at one provider is called at all. Closed, it lets everybody in, until so many attempts in a row
 * failed; open, nobody, for a time that doubles each time that a probe fails; then half open: a few probes at a time, of
 * which the first to succeed closes it and the first to fail opens it again.
 *
 * It is everybody's, so one caller must not be able to shut it by what it asks for: a failure that may be the call's own
 * doing counts only where the failure before it was another caller's.
 */
export class Breaker {
  readonly #clock: Clock;
  #failuresInRow = 0;
  #lastFailure: { readonly caller: string; readonly restMs: number | null } | null = null;
  /** Monotonic milliseconds; null while closed. */
  #openUntil: number | null = null;
  #nextOpenMs = breakerOpenMs;
  /**
   * Until when each probe keeps its place, monotonic milliseconds. A whole answer tells nothing before its end, which may
   * be minutes away: nobody else must wait for it.
   */
  #probes: number[] = [];
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
    const now = this.#clock.monotonic();
    if (now < this.#openUntil) return this.#openUntil - now;
    const out = this.#probesOut(now);
    return out.length < breakerProbesMax ? 0 : Math.min(...out) - now;
  }

  /** Leave to make one attempt for a caller, which must be ended; null where none may be made now. */
  enter(caller: string): Leave | null {
    if (this.retryAfterMs > 0) return null;
    const era = this.#era;
    const placeUntil = this.#openUntil === null ? null : this.#takePlace();
    return new Leave((verdict) => {
      if (era !== this.#era) return;
      if (placeUntil !== null) this.#givePlaceBack(placeUntil);
      this.#learn(verdict, caller);
    });
  }

  #probesOut(now: number): number[] {
    return this.#probes.filter((until) => now < until);
  }

  #takePlace(): number {
    const now = this.#clock.monotonic();
    const until = now + breakerProbeMs;
    this.#probes = [...this.#probesOut(now), until];
    return until;
  }

  #givePlaceBack(until: number): void {
    const at = this.#probes.indexOf(until);
    if (at >= 0) this.#probes.splice(at, 1);
  }

  #learn(verdict: Verdict, caller: string): void {
    switch (verdict.kind) {
      case 'none':
        return;
      case 'success':
        if (this.#openUntil !== null) this.#close();
        this.#failuresInRow = 0;
        this.#lastFailure = null;
        return;
      case 'failure':
        this.#fail(verdict, caller);
    }
  }

  #fail({ doubtful, restMs }: Fail, caller: string): void {
    const last = this.#lastFailure;
    if (doubtful && last?.caller === caller) return;
    this.#failuresInRow++;
    this.#lastFailure = { caller, restMs };
    const agreed = last !== null && last.restMs !== null && last.caller !== caller;
    if (agreed && restMs !== null && restMs > 0) this.#open(Math.min(restMs, breakerRetryAfterMsMax));
    else if (this.#openUntil !== null || this.#failuresInRow >= breakerFailuresMax) this.#open(this.#lengthen());
  }

  #open(ms: number): void {
    this.#openUntil = this.#clock.monotonic() + ms;
    this.#probes = [];
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
    this.#probes = [];
    this.#era++;
  }
}

/** An attempt that went wrong. */
export interface Fail {
  /** It may be the doing of this one call or its caller. */
  readonly doubtful: boolean;
  /** How long the provider asked to be left alone by everybody, in milliseconds; null where it did not. */
  readonly restMs: number | null;
}

type Verdict = { readonly kind: 'success' | 'none' } | ({ readonly kind: 'failure' } & Fail);

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

  /** The target does not answer as it should. One that asked two callers in a row for a rest gets it. */
  fail(how: Fail): void {
    this.#end({ kind: 'failure', ...how });
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
