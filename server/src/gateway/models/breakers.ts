import type { Clock } from '../../base/clock.ts';
import { breakersMax } from '../../base/limits.ts';
import type { BreakerLevel } from '../../base/metrics.ts';
import { Breaker, breakerStates } from './breaker.ts';

interface Kept {
  readonly breaker: Breaker;
  readonly provider: string;
  /** The names under which the configuration leads to it. */
  readonly configured: Set<string>;
}

/**
 * The breakers of one configuration, one for each model that a provider serves. Callers can make up names below a
 * wildcard: past `breakersMax` all further ones of a wildcard share one breaker.
 */
export class Breakers {
  readonly #clock: Clock;
  readonly #configured = new Map<string, Pick<BreakerLevel, 'provider' | 'model'>>();
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns the breaker of whatever model that target serves; `model` may be a wildcard */
  forTarget(provider: string, model: string): (modelServed: string) => Breaker {
    const name = baseName(model);
    this.#configured.set(`${provider} ${name}`, { provider, model: name });
    return (modelServed) => this.#of(provider, name, modelServed);
  }

  /**
   * How each target of the configuration stands, by the worst of its breakers. A model has the base name that it is
   * configured by, never a path, and a wildcard stands for all that it leads to: callers make up no labels.
   */
  levels(): BreakerLevel[] {
    const worst = new Map([...this.#configured].map(([key, target]) => [key, { ...target, state: 0 }]));
    for (const { breaker, provider, configured } of this.#kept.values()) {
      const state = breakerStates.indexOf(breaker.state);
      for (const model of configured) {
        const target = worst.get(`${provider} ${model}`);
        if (target) target.state = Math.max(target.state, state);
      }
    }
    return [...worst.values()].map((target) => ({ ...target, state: breakerStates[target.state] ?? 'closed' }));
  }

  #of(provider: string, configured: string, modelServed: string): Breaker {
    const known = this.#kept.get(`${provider} ${modelServed}`);
    if (known) {
      known.configured.add(configured);
      return known.breaker;
    }
    const key = this.#hasRoom() ? `${provider} ${modelServed}` : `${provider} * ${configured}`;
    const shared = this.#kept.get(key);
    if (shared) return shared.breaker;
    const breaker = new Breaker(this.#clock);
    this.#kept.set(key, { breaker, provider, configured: new Set([configured]) });
    return breaker;
  }

  #hasRoom(): boolean {
    if (this.#kept.size < breakersMax) return true;
    for (const [key, { breaker }] of this.#kept) if (breaker.isPristine) this.#kept.delete(key);
    return this.#kept.size < breakersMax;
  }
}

function baseName(model: string): string {
  return model.slice(model.lastIndexOf('/') + 1);
}
