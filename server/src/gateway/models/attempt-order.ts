import { attemptMsMin, backoffBaseMs, backoffMsMax } from '../../base/limits.ts';
import type { Route, Target } from './routing.ts';

/** The next attempt of a call. */
export interface Step {
  readonly target: Target;
  /** To be waited before it. */
  readonly waitMs: number;
  /** This call tried that target before. */
  readonly again: boolean;
}

interface Candidate {
  readonly target: Target;
  tries: number;
  /** When the provider wants to be asked again, in milliseconds of the call. */
  restUntilMs: number;
}

/**
 * In which order a call tries the targets of its route: the chosen one, then the others as they are listed, each at once;
 * then those that failed again, after a random pause that grows ("full jitter") and never sooner than they asked for.
 * Times are milliseconds since the call's first attempt began.
 */
export class AttemptOrder {
  readonly #attemptsMax: number;
  readonly #random: () => number;
  #candidates: Candidate[];
  #made = 0;

  /** `random` is in [0, 1). */
  constructor({ attemptsMax, onFailure, targets }: Route, chosen: Target, random: () => number) {
    const others = onFailure === 'next' ? targets.filter((target) => target !== chosen) : [];
    this.#attemptsMax = attemptsMax;
    this.#random = random;
    this.#candidates = [chosen, ...others].map((target) => ({ target, tries: 0, restUntilMs: 0 }));
  }

  /** The next attempt; null where none may be made, or none has the time. */
  next(elapsedMs: number): Step | null {
    if (this.#made >= this.#attemptsMax) return null;
    const rest = ({ restUntilMs }: Candidate) => Math.max(0, restUntilMs - elapsedMs);
    for (const candidate of this.#candidates.toSorted((a, b) => a.tries - b.tries || rest(a) - rest(b))) {
      const { target, tries } = candidate;
      const waitMs = tries === 0 ? 0 : rest(candidate) + this.#backoffMs(tries);
      if (this.#made === 0 || elapsedMs + waitMs + attemptMsMin < target.deadlines.totalMs)
        return { target, waitMs, again: tries > 0 };
    }
    return null;
  }

  /** An attempt is made at this target. */
  tried(target: Target): void {
    this.#made++;
    for (const candidate of this.#candidates) if (candidate.target === target) candidate.tries++;
  }

  /** The provider of this target wants to be asked no sooner. */
  rest(target: Target, untilMs: number): void {
    for (const candidate of this.#candidates) if (candidate.target === target) candidate.restUntilMs = untilMs;
  }

  /** This target can or may not take the call. */
  drop(target: Target): void {
    this.#candidates = this.#candidates.filter((candidate) => candidate.target !== target);
  }

  #backoffMs(tries: number): number {
    return this.#random() * Math.min(backoffBaseMs * 2 ** (tries - 1), backoffMsMax);
  }
}
