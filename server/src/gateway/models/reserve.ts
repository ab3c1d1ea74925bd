import { PortcullisError } from '../../base/errors.ts';
import { clampedBodyBytesMore } from '../../base/limits.ts';
import type { Hold } from '../../budget/ledger.ts';
import type { Budget, WorstCase } from '../../budget/model.ts';
import { freePrice } from '../../budget/prices/declared-price.ts';
import type { Price } from '../../budget/prices/price.ts';
import { freeOfCharge, worstCase } from '../../budget/prices/worst-case.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { outputLimitName } from '../../llm/output-limit.ts';
import { listPrice } from '../../llm/terms.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { Endpoint } from './endpoints.ts';
import type { ModelGate } from './gate.ts';
import { type LatencyCaps, latencyCaps, requireTime } from './latency-cap.ts';

/** What an attempt costs at most. */
export interface Quote {
  readonly worst: WorstCase;
  /** Null where nobody knows it, which only calls without a money budget may be. */
  readonly price: Price | null;
  /** The worst case with another output limit, which is written into the body. */
  readonly worstAt: (maxOutputTokens: number) => WorstCase;
  readonly latency: LatencyCaps;
}

/** What a call was admitted at. */
export interface Reserved {
  readonly hold: Hold;
  readonly price: Price | null;
  readonly latency: LatencyCaps;
  /** Monotonic milliseconds at which the money was held: from then on the attempt takes time. */
  readonly heldAt: number;
}

/**
 * The worst case of an attempt.
 * @throws PortcullisError policy_denied (unknown price under a money budget), invalid_argument (a field whose cost has no
 * bound), UnboundedOutput
 */
export function quote(gate: ModelGate, { operation, dialect }: Endpoint, plan: CallPlan): Quote {
  const { facts, modelServed, spender } = plan;
  const { provider, prices, capabilities: declared } = plan.target;
  // A dry-run budget never decides: what it could not count is not refused for its sake.
  const matching = gate.budgets.matching(spender);
  const budgets = matching.filter(({ mode }) => mode === 'enforce');
  const price = priceOf(gate, plan);
  if (price === null) refuseUnknownPrice(budgets, plan);
  const known = prices.limitsOf(modelServed);
  const limits = {
    ...known,
    // Each text to embed has a context of its own.
    contextTokens: operation === 'embed' ? null : (declared.contextTokens ?? known.contextTokens),
    maxOutputTokens: declared.maxOutputTokens ?? known.maxOutputTokens,
  };
  // A translation can be longer than what it is of.
  const bodyBytes = Math.max(facts.bodyBytes, plan.body.length);
  // What a provider runs itself has no counterpart in another dialect, and the simulated model runs nothing.
  const runsTools = plan.translation === null && provider.kind !== 'sim';
  const maxOutputTokens = plan.translation?.maxOutputTokens ?? facts.maxOutputTokens;
  // A translation carries no terms but the usual ones.
  const terms = plan.translation ? facts.terms.filter(({ value }) => value === listPrice) : facts.terms;
  const carried = {
    ...facts,
    bodyBytes,
    maxOutputTokens,
    terms,
    ...(!runsTools && { serverTools: [], builtInTools: 0 }),
  };
  const { kind } = provider;
  const { standingTerms } = prices;
  const bounds = { kind, outputLimitName: outputLimitName(dialect), price, limits, budgets, standingTerms };
  const worstOf = (known: RequestFacts) =>
    operation === 'count_tokens' ? freeOfCharge : worstCase({ ...bounds, facts: known });
  return {
    worst: worstOf(carried),
    price,
    worstAt: (limit) => worstOf({ ...carried, bodyBytes: bodyBytes + clampedBodyBytesMore, maxOutputTokens: limit }),
    latency: latencyCaps(matching),
  };
}

/**
 * Holds the worst case of an attempt on every budget that counts it, durably, before anything goes upstream;
 * `deadlineMs` is the longest that the attempt may take.
 * @throws PortcullisError budget_exceeded, unavailable
 */
export async function reserve(
  gate: ModelGate,
  call: Call,
  { spender }: CallPlan,
  { worst, price, latency }: Quote,
  deadlineMs: number,
): Promise<Reserved> {
  call.note({ priceVersion: price?.version ?? null });
  requireTime(latency);
  const { attempt } = call;
  const hold = await gate.ledger.reserve({ attempt, spender, worst, deadlineMs });
  call.held = true;
  return { hold, price, latency, heldAt: gate.clock.monotonic() };
}

/** Null where nobody knows it. What a caller's own account pays for is not billed here. */
function priceOf({ clock }: ModelGate, { target, modelServed }: CallPlan): Price | null {
  if (target.provider.credential === 'caller') return { ...freePrice, version: 'subscription' };
  return target.prices.priceOf(modelServed, clock.now());
}

function refuseUnknownPrice(budgets: readonly Budget[], { modelServed, target }: CallPlan): void {
  const budget = budgets.find(({ unit }) => unit === 'usd');
  if (!budget) return;
  throw new PortcullisError(
    'policy_denied',
    `The price of "${modelServed.slice(0, 100)}" at provider ${target.provider.name} is unknown and budget "${budget.name}" counts money: an operator must declare a price for it, or an unknown_price, in portcullis.yaml.`,
    { rule: 'unknown_price', param: 'model' },
  );
}
