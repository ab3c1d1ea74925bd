import { PortcullisError } from '../../base/errors.ts';
import { matchesWildcard } from '../../base/wildcard.ts';
import type { Capabilities } from '../../llm/capabilities.ts';
import type { Breaker } from './breaker.ts';
import type { Provider } from './provider.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { TargetPrices } from './target-prices.ts';

export interface Deadlines {
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly idleMs: number;
  /** All attempts of a call together. */
  readonly totalMs: number;
}

/** One place where a route may send a call. */
export interface Target {
  readonly provider: Provider;
  /** The provider's name of the model; null keeps the name that was asked for. */
  readonly model: string | null;
  readonly weight: number;
  readonly prices: TargetPrices;
  readonly capabilities: Capabilities;
  readonly deadlines: Deadlines;
  /** Whether a model is called here at all; `modelServed` is the provider's name of it. */
  readonly breaker: (modelServed: string) => Breaker;
}

/** A public model name, or a pattern with one `*`, and where it leads. */
export interface Route {
  readonly name: string;
  readonly targets: readonly Target[];
  readonly lossy: 'refuse' | 'allow';
  /** What becomes of a conversation that is too long for its target. */
  readonly trim: 'refuse' | 'oldest_turns';
  /** What becomes of a call that fits in its budgets only with a smaller output limit. */
  readonly maxTokens: 'refuse' | 'clamp';
  /** Whether a call that its target failed may go to the others. */
  readonly onFailure: 'next' | 'refuse';
  /** Upstream attempts of one call, over all targets. */
  readonly attemptsMax: number;
  readonly retries: RetryBudget;
  /** How long answers may be kept to be given again, in seconds; null does not keep them. */
  readonly cacheTtlS: number | null;
}

/** The routes of one configuration, immutable; a reload makes a new table. */
export class RouteTable {
  readonly #exact = new Map<string, Route>();
  readonly #patterns: Route[] = [];
  /** The names of those to which any route leads. */
  readonly providers: ReadonlySet<string>;

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      if (route.name.includes('*')) this.#patterns.push(route);
      else this.#exact.set(route.name, route);
    }
    this.providers = new Set(routes.flatMap(({ targets }) => targets.map(({ provider }) => provider.name)));
    // The longest pattern is the most specific one.
    this.#patterns.sort((a, b) => b.name.length - a.name.length);
  }

  /** @throws PortcullisError not_found, with near matches. */
  resolve(model: string): Route {
    const route = this.#exact.get(model) ?? this.#patterns.find(({ name }) => matchesWildcard(name, model));
    if (route) return route;
    const near = this.#near(model);
    const hint = near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : ' GET /v1/models lists what there is.';
    throw new PortcullisError('not_found', `There is no model "${model.slice(0, 100)}" here.${hint}`, {
      param: 'model',
    });
  }

  /** The names that can be listed: those without a pattern. */
  get names(): string[] {
    return [...this.#exact.keys()];
  }

  #near(model: string): string[] {
    const wanted = new Set(pairs(model));
    return [...this.#exact.keys(), ...this.#patterns.map(({ name }) => name)]
      .map((name) => ({
        name,
        shared: pairs(name).filter((pair) => wanted.has(pair)).length / Math.max(1, name.length - 1),
      }))
      .filter(({ shared }) => shared >= 0.5)
      .toSorted((a, b) => b.shared - a.shared)
      .slice(0, 3)
      .map(({ name }) => name);
  }
}

function pairs(text: string): string[] {
  return Array.from({ length: Math.max(0, text.length - 1) }, (_, i) => text.slice(i, i + 2).toLowerCase());
}

/** The route with these of its targets: those that are for failures only come first where nothing else can. */
export function withTargets(route: Route, targets: readonly Target[]): Route {
  const isLeft = targets.some(({ weight }) => weight > 0);
  return { ...route, targets: isLeft ? targets : targets.map((target) => ({ ...target, weight: 1 })) };
}

/** The route with no more attempts of a call than its run allows; null is as many as the route does. */
export function withRetries(route: Route, maxRetries: number | null): Route {
  return maxRetries === null ? route : { ...route, attemptsMax: Math.min(route.attemptsMax, maxRetries + 1) };
}

/** Chooses a target by weight; `random` is in [0, 1). */
export function chooseTarget(route: Route, random: number): Target {
  const total = route.targets.reduce((sum, { weight }) => sum + weight, 0);
  let rest = random * total;
  for (const target of route.targets) {
    rest -= target.weight;
    if (rest < 0) return target;
  }
  throw new Error(`route ${route.name} has no target`);
}
