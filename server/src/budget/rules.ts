import { matchesWildcard } from '../base/wildcard.ts';
import type { Budget, BudgetSelector, Charge, Meter, Shortfall, Spender, Verdict } from './model.ts';

/** Whether `budget` counts the calls of `spender`. A budget per run counts no call outside a run. */
export function counts(budget: Pick<Budget, 'selector' | 'window'>, spender: Spender): boolean {
  if (budget.window === 'run' && spender.runId === null) return false;
  return selects(budget.selector, spender);
}

function selects(selector: BudgetSelector, spender: Spender): boolean {
  return (
    (selector.teamId === null || spender.teams.includes(selector.teamId)) &&
    (selector.personId === null || selector.personId === spender.personId) &&
    (selector.agentId === null || selector.agentId === spender.agentId) &&
    (selector.keyId === null || selector.keyId === spender.keyId) &&
    (selector.workflow === null || selector.workflow === spender.workflow) &&
    (selector.runId === null || selector.runId === spender.runId) &&
    (selector.providerType === null || selector.providerType === spender.providerType) &&
    (selector.provider === null || selector.provider === spender.provider) &&
    (selector.model === null || matchesWildcard(selector.model, spender.model))
  );
}

/**
 * Decides calls in the order in which they came, each with what it asks of all its budgets: held on every one or on
 * none. Only enforcing budgets refuse; a dry-run one counts and says what it would have refused. What spent more than
 * its limit (an overrun) admits nothing more until its window ends.
 */
export function admit(calls: readonly (readonly Charge[])[]): Verdict[] {
  const heldNow = new Map<Meter, bigint>();
  return calls.map((charges) => {
    const shortfalls = charges.flatMap((charge) => shortfallOf(charge, heldNow.get(charge.meter) ?? 0n) ?? []);
    const refusals = shortfalls.filter(({ meter }) => meter.budget.mode === 'enforce');
    const [first, ...others] = refusals;
    if (first) {
      const shortfall = others.reduce(later, first);
      return { admitted: false, shortfall, others: refusals.filter((refusal) => refusal !== shortfall) };
    }
    for (const { meter, amount } of charges) {
      if (meter.accumulates) heldNow.set(meter, (heldNow.get(meter) ?? 0n) + amount);
    }
    return { admitted: true, shadows: shortfalls };
  });
}

/** Null is no limit; 0 denies, whatever is asked. */
function shortfallOf({ meter, amount }: Charge, heldInBatch: bigint): Shortfall | null {
  const { limit } = meter.budget;
  if (limit === null) return null;
  const observed = meter.posted + meter.held + heldInBatch;
  if (limit > 0n && observed + amount <= limit) return null;
  return { meter, amount, observed, limit };
}

/** Of two limits that refuse, the one that does so for longer: waiting for the other would not help. */
function later(one: Shortfall, other: Shortfall): Shortfall {
  const [first, second] = [refusesUntil(one), refusesUntil(other)];
  if (first !== second) return second > first ? other : one;
  return endOf(other) > endOf(one) ? other : one;
}

/** In milliseconds by the wall clock; before all windows end, as far as one can know, calls in flight do. */
function refusesUntil(shortfall: Shortfall): number {
  if (waitsForOthers(shortfall)) return 0;
  return isTooMuch(shortfall) ? Infinity : endOf(shortfall);
}

function endOf({ meter }: Shortfall): number {
  return meter.endsAt ?? Infinity;
}

/** Whether the call would not fit if nothing else were spent or held. */
export function isTooMuch({ amount, limit }: Shortfall): boolean {
  return limit === 0n || amount > limit;
}

/**
 * Whether only what is held is in the way, of which calls in flight give something back when they end, and processes what
 * they leased and do not use. Of a request that a call holds nothing is given back.
 */
export function waitsForOthers({ meter, amount, limit }: Shortfall): boolean {
  const givesBack = meter.accumulates && (meter.budget.unit !== 'requests' || meter.leased > 0n);
  return givesBack && limit > 0n && meter.posted + amount <= limit;
}
