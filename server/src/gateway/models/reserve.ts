import { PortcullisError } from '../../base/errors.ts';
import type { Hold } from '../../budget/ledger.ts';
import type { Budget, Price } from '../../budget/model.ts';
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
 * Holds the worst case of the call on every budget that counts it, durably, before anything goes upstream.
 * @throws PortcullisError budget_exceeded, policy_denied (unknown price under a money budget), invalid_argument (a field
 * whose cost has no bound), unavailable
 */
export async function reserve(gate: ModelGate, call: Call, plan: CallPlan): Promise<Reserved> {
  const { facts, modelServed, spender } = plan;
  const { provider, deadlines, ...declared } = plan.target;
  // A dry-run budget never decides: what it could not count is not refused for its sake.
  const budgets = gate.budgets.matching(spender).filter(({ mode }) => mode === 'enforce');
  const price = declared.price ?? gate.prices.price(provider.kind, modelServed, gate.clock.now());
  if (price === null) refuseUnknownPrice(budgets, plan);
  const known = gate.prices.limits(provider.kind, modelServed);
  const limits = { ...known, maxOutputTokens: declared.maxOutputTokens ?? known.maxOutputTokens };
  // A translation can be longer than what it is of.
  const bodyBytes = Math.max(facts.bodyBytes, plan.body.length);
  const worst =
    call.endpoint.operation === 'count_tokens'
      ? freeOfCharge
      : worstCase({ kind: provider.kind, facts: { ...facts, bodyBytes }, price, limits, budgets });
  call.note({ priceVersion: price?.version ?? null });
  try {
    const { attempt } = call;
    const hold = await gate.ledger.reserve({ attempt, spender, worst, deadlineMs: deadlines.totalMs });
    call.held = true;
    return { hold, price };
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'budget_exceeded') gate.metrics.budgetRefusals.inc();
    throw error;
  }
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
