import { PortcullisError } from '../../base/errors.ts';
import type { Hold } from '../../budget/ledger.ts';
import type { Budget, Price } from '../../budget/model.ts';
import { declaredPrice } from '../../budget/price-book.ts';
import { freeOfCharge, worstCase } from '../../budget/worst-case.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { ModelGate } from './gate.ts';

/** What a call was admitted at. */
export interface Reserved {
  readonly hold: Hold;
  /** Null where nobody knows it, which only calls without a money budget may be. */
  readonly price: Price | null;
}

/**
 * Holds the worst case of an attempt on every budget that counts it, durably, before anything goes upstream;
 * `deadlineMs` is the longest that the attempt may take.
 * @throws PortcullisError budget_exceeded, policy_denied (unknown price under a money budget), invalid_argument (a field
 * whose cost has no bound), unavailable
 */
export async function reserve(gate: ModelGate, call: Call, plan: CallPlan, deadlineMs: number): Promise<Reserved> {
  const { facts, modelServed, spender } = plan;
  const { provider, capabilities: declared } = plan.target;
  // A dry-run budget never decides: what it could not count is not refused for its sake.
  const budgets = gate.budgets.matching(spender).filter(({ mode }) => mode === 'enforce');
  const price = priceOf(gate, plan);
  if (price === null) refuseUnknownPrice(budgets, plan);
  const known = gate.prices.limits(provider.kind, modelServed);
  const limits = {
    ...known,
    // Each text to embed has a context of its own.
    contextTokens: call.endpoint.operation === 'embed' ? null : (declared.contextTokens ?? known.contextTokens),
    maxOutputTokens: declared.maxOutputTokens ?? known.maxOutputTokens,
  };
  // A translation can be longer than what it is of.
  const bodyBytes = Math.max(facts.bodyBytes, plan.body.length);
  // What a provider runs itself has no counterpart in another dialect, and the simulated model runs nothing.
  const runsTools = plan.translation === null && provider.kind !== 'sim';
  const maxOutputTokens = plan.translation?.maxOutputTokens ?? facts.maxOutputTokens;
  const carried = { ...facts, bodyBytes, maxOutputTokens, ...(!runsTools && { serverTools: [], builtInTools: 0 }) };
  const worst =
    call.endpoint.operation === 'count_tokens'
      ? freeOfCharge
      : worstCase({ kind: provider.kind, facts: carried, price, limits, budgets });
  call.note({ priceVersion: price?.version ?? null });
  try {
    const { attempt } = call;
    const hold = await gate.ledger.reserve({ attempt, spender, worst, deadlineMs });
    call.held = true;
    return { hold, price };
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'budget_exceeded') gate.metrics.budgetRefusals.inc();
    throw error;
  }
}

/** Null where nobody knows it. What a caller's own account pays for is not billed here. */
function priceOf({ prices, clock }: ModelGate, { target, modelServed }: CallPlan): Price | null {
  const { provider, price } = target;
  if (provider.credential === 'caller') return { ...declaredPrice(provider.kind, 'free'), version: 'subscription' };
  return price ?? prices.price(provider.kind, modelServed, clock.now());
}

function refuseUnknownPrice(budgets: readonly Budget[], { modelServed, target }: CallPlan): void {
  const budget = budgets.find(({ unit }) => unit === 'usd');
  if (!budget) return;
  throw new PortcullisError(
    'policy_denied',
    `The price of "${modelServed.slice(0, 100)}" at provider ${target.provider.name} is unknown and budget "${budget.name}" counts money: an operator must declare a price in portcullis.yaml.`,
    { rule: 'unknown_price', param: 'model' },
  );
}
