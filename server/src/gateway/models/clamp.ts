import { PortcullisError } from '../../base/errors.ts';
import { clampTriesMax, clampedOutputTokensMax, clampedOutputTokensMin } from '../../base/limits.ts';
import { amountOf } from '../../budget/admission.ts';
import type { WorstCase } from '../../budget/model.ts';
import { UnboundedOutput } from '../../budget/prices/refuse-unbounded.ts';
import { BudgetExceeded, budgetExceeded } from '../../budget/refusal.ts';
import { admit } from '../../budget/rules.ts';
import { promptTokensMax } from '../../llm/context-window.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { ModelGate } from './gate.ts';
import type { Clamp } from './prepare.ts';
import { type Quote, type Reserved, quote, reserve } from './reserve.ts';

/** An attempt with what it can cost at most. */
interface Quoted {
  readonly plan: CallPlan;
  readonly quote: Quote;
}

/** An attempt that has its money, perhaps for a shorter answer than was asked for. */
interface Affordable {
  readonly plan: CallPlan;
  readonly reserved: Reserved;
}

/**
 * The worst case of an attempt. Where a budget needs a bound of the answer and nothing is one, a limit is set if the route
 * allows it.
 * @throws PortcullisError as `quote`
 */
export async function boundedQuote(gate: ModelGate, call: Call, plan: CallPlan): Promise<Quoted> {
  try {
    return { plan, quote: quote(gate, call.endpoint, plan) };
  } catch (error) {
    if (!(error instanceof UnboundedOutput) || !mayClamp(call, plan)) throw error;
    const limited = await plan.at(plan.target, { maxTokens: longest(plan), budget: error.budget });
    return { plan: limited, quote: quote(gate, call.endpoint, limited) };
  }
}

/**
 * Holds the worst case of an attempt. Where that does not fit in a budget and a shorter answer would, and the route allows
 * it, the output limit is lowered to what fits. Others hold money at the same time, so this may take several tries.
 * @throws PortcullisError budget_exceeded, unavailable
 */
export async function reserveAffordable(
  gate: ModelGate,
  call: Call,
  { plan: asked, quote: askedQuote }: Quoted,
  deadlineMs: number,
): Promise<Affordable> {
  let plan = asked;
  let quoted = askedQuote;
  for (let tries = 0; ; tries++) {
    try {
      return { plan, reserved: await reserve(gate, call, plan, quoted, deadlineMs) };
    } catch (error) {
      if (!(error instanceof PortcullisError) || error.code !== 'budget_exceeded') throw error;
      const shorter = error instanceof BudgetExceeded && isLowerable(call, plan, quoted) ? error : null;
      const clamp = shorter && tries < clampTriesMax ? clampOf(plan, quoted, shorter) : null;
      if (clamp === null) {
        gate.metrics.budgetRefusals.inc();
        throw shorter ? refusalOf(plan, quoted, shorter) : error;
      }
      plan = await asked.at(asked.target, clamp);
      quoted = quote(gate, call.endpoint, plan);
    }
  }
}

function mayClamp({ endpoint }: Call, { route }: CallPlan): boolean {
  return route.maxTokens === 'clamp' && endpoint.operation === 'generate';
}

/** Whether the route allows a shorter answer, and one that is of use is shorter than what was asked for. */
function isLowerable(call: Call, plan: CallPlan, quoted: Quote): boolean {
  return mayClamp(call, plan) && shortest(plan) < outputTokens(plan, quoted);
}

/** The output limit of the shortest answer that is of use. */
function shortest({ facts }: CallPlan): number {
  return facts.thinkingTokens + clampedOutputTokensMin;
}

/** The largest output limit to be set where nobody knows the model's own. */
function longest(plan: CallPlan): number {
  const { target, modelServed, facts } = plan;
  const context = target.capabilities.contextTokens ?? target.prices.limitsOf(modelServed).contextTokens ?? Infinity;
  const room = context - (promptTokensMax(facts) ?? 0);
  return Math.max(shortest(plan), Math.min(room, facts.thinkingTokens + clampedOutputTokensMax));
}

function outputTokens({ facts }: CallPlan, { worst }: Quote): number {
  return Math.floor(worst.usage.output / facts.choices);
}

/** The largest output limit whose worst case fits where it did not; null where none does that is of use. */
function clampOf(plan: CallPlan, quoted: Quote, { shortfalls }: BudgetExceeded): Clamp | null {
  const { worstAt } = quoted;
  if (shortfalls.some(({ meter, limit }) => limit === 0n || !clampable.has(meter.budget.unit))) return null;
  const tightest = (cost: WorstCase) =>
    shortfalls.find(({ meter, observed, limit }) => observed + amountOf(meter.budget.unit, cost) > limit);
  let fits = shortest(plan);
  let tooMuch = outputTokens(plan, quoted);
  if (tightest(worstAt(fits)) !== undefined) return null;
  while (tooMuch - fits > 1) {
    const middle = Math.floor((fits + tooMuch) / 2);
    if (tightest(worstAt(middle)) === undefined) fits = middle;
    else tooMuch = middle;
  }
  const budget = tightest(worstAt(tooMuch)) ?? shortfalls[0];
  return budget === undefined ? null : { maxTokens: fits, budget: budget.meter.budget.name };
}

/** The refusal of the shortest answer that is of use: whether waiting helps depends on that one, not on what was asked for. */
function refusalOf(plan: CallPlan, { worstAt }: Quote, error: BudgetExceeded): BudgetExceeded {
  const least = worstAt(shortest(plan));
  const charges = error.shortfalls.map(({ meter, observed }) => ({
    meter: { ...meter, held: observed - meter.posted },
    amount: amountOf(meter.budget.unit, least),
  }));
  const [verdict] = admit([charges]);
  // Where even that fits, others took the room at each try.
  return verdict?.admitted === false ? budgetExceeded(verdict.shortfall, verdict.others) : error;
}

/** Units of which a shorter answer takes less. */
const clampable: ReadonlySet<string> = new Set(['usd', 'tokens']);
