import { PortcullisError } from '../../base/errors.ts';
import { clampTriesMax, clampedOutputTokensMin } from '../../base/limits.ts';
import { amountOf } from '../../budget/admission.ts';
import type { WorstCase } from '../../budget/model.ts';
import { BudgetExceeded } from '../../budget/refusal.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { ModelGate } from './gate.ts';
import type { Clamp } from './prepare.ts';
import { type Quote, type Reserved, quote, reserve } from './reserve.ts';

/** An attempt that has its money, perhaps for a shorter answer than was asked for. */
interface Affordable {
  readonly plan: CallPlan;
  readonly reserved: Reserved;
}

/**
 * Holds the worst case of an attempt. Where that does not fit in a budget and a shorter answer would, and the route allows
 * it, the output limit is lowered to what fits. Others hold money at the same time, so this may take several tries.
 * @throws PortcullisError budget_exceeded, unavailable
 */
export async function reserveAffordable(
  gate: ModelGate,
  call: Call,
  asked: CallPlan,
  askedQuote: Quote,
  deadlineMs: number,
): Promise<Affordable> {
  let plan = asked;
  let quoted = askedQuote;
  for (let tries = 0; ; tries++) {
    try {
      return { plan, reserved: await reserve(gate, call, plan, quoted, deadlineMs) };
    } catch (error) {
      const clamp =
        tries < clampTriesMax && error instanceof BudgetExceeded ? clampOf(call, plan, quoted, error) : null;
      if (clamp === null) {
        if (error instanceof PortcullisError && error.code === 'budget_exceeded') gate.metrics.budgetRefusals.inc();
        throw error;
      }
      plan = await asked.at(asked.target, clamp);
      quoted = quote(gate, call.endpoint.operation, plan);
    }
  }
}

/** The largest output limit whose worst case fits where it did not; null where none does that is of use. */
function clampOf(
  { endpoint }: Call,
  { route, facts }: CallPlan,
  { worst, worstAt }: Quote,
  { shortfalls }: BudgetExceeded,
): Clamp | null {
  if (route.maxTokens === 'refuse' || endpoint.operation !== 'generate') return null;
  if (shortfalls.some(({ meter, limit }) => limit === 0n || !clampable.has(meter.budget.unit))) return null;
  const tightest = (cost: WorstCase) =>
    shortfalls.find(({ meter, observed, limit }) => observed + amountOf(meter.budget.unit, cost) > limit);
  let fits = facts.thinkingTokens + clampedOutputTokensMin;
  let tooMuch = Math.floor(worst.usage.output / facts.choices);
  if (fits >= tooMuch || tightest(worstAt(fits)) !== undefined) return null;
  while (tooMuch - fits > 1) {
    const middle = Math.floor((fits + tooMuch) / 2);
    if (tightest(worstAt(middle)) === undefined) fits = middle;
    else tooMuch = middle;
  }
  const budget = tightest(worstAt(tooMuch)) ?? shortfalls[0];
  return budget === undefined ? null : { maxTokens: fits, budget: budget.meter.budget.name };
}

/** Units of which a shorter answer takes less. */
const clampable: ReadonlySet<string> = new Set(['usd', 'tokens']);
