import type { PortcullisError } from '../base/errors.ts';
import { holdGraceMs } from '../base/limits.ts';
import { crashRow } from './ledger-row.ts';
import type { Budget, BudgetUnit, HoldRequest, Meter, ShadowVerdict, WorstCase } from './model.ts';
import { budgetExceeded, shadowVerdict } from './refusal.ts';
import { admit } from './rules.ts';
import type { CounterKey, HoldRow, LockedBudget } from './store.ts';

/** A call with its places on the budgets that count it. */
export interface Placed {
  readonly request: HoldRequest;
  readonly stands: readonly Stand[];
}

export interface Stand {
  readonly budget: Budget;
  /** Null for the window `attempt`, which needs no counter. */
  readonly windowKey: string | null;
  /** Epoch milliseconds; null when the window does not end by itself. */
  readonly endsAt: number | null;
}

type Amounts = readonly (CounterKey & { readonly amount: bigint })[];

export type Decision =
  | { readonly admitted: true; readonly counters: Amounts; readonly shadowVerdicts: readonly ShadowVerdict[] }
  | { readonly admitted: false; readonly error: PortcullisError };

/**
 * Decides calls in their order against the budgets as they were read under lock. A budget that is not among the rows was
 * deleted and counts no more.
 * @throws Error when a budget is there and its counter is not: deciding without it would let everything through
 */
export function decide(placed: readonly Placed[], rows: readonly LockedBudget[]): Decision[] {
  const budgets = new Map(rows.map((row) => [row.id, row]));
  const counters = new Map(rows.map((row) => [`${row.id} ${row.windowKey}`, row]));
  const meters = new Map<string, Meter>();
  const calls = placed.map(({ request, stands }) =>
    stands.flatMap((stand) => {
      const budget = budgets.get(stand.budget.id);
      return budget ? [{ stand, meter: meterOf(stand, budget), amount: amountOf(budget.unit, request.worst) }] : [];
    }),
  );
  return admit(calls).map((verdict, index) => {
    if (!verdict.admitted) return { admitted: false, error: budgetExceeded(verdict.shortfall, verdict.others) };
    const charges = calls[index] ?? [];
    return {
      admitted: true,
      counters: charges.flatMap(({ stand: { budget, windowKey }, amount }) =>
        windowKey === null ? [] : [{ budgetId: budget.id, windowKey, amount }],
      ),
      shadowVerdicts: verdict.shadows.map(shadowVerdict),
    };
  });

  /** One meter a counter, so that calls of a batch see what the ones before them took. */
  function meterOf({ windowKey, endsAt }: Stand, budget: LockedBudget): Meter {
    const name = `${budget.id} ${windowKey}`;
    const known = meters.get(name);
    if (known) return known;
    const counter = counters.get(name);
    if (windowKey !== null && !counter) throw new Error(`budget ${budget.id} has no counter for "${windowKey}"`);
    const meter = {
      budget,
      posted: counter?.posted ?? 0n,
      held: counter?.held ?? 0n,
      leased: counter?.leased ?? 0n,
      accumulates: windowKey !== null,
      endsAt,
    };
    meters.set(name, meter);
    return meter;
  }
}

/**
 * The holds of calls as if all fit, which is nearly always so: whether they do is for the statement to find that writes
 * them.
 */
export function hopefulHolds(placed: readonly Placed[]): HoldRow[] {
  return placed.map(({ request, stands }) => {
    const counters: (CounterKey & { amount: bigint })[] = [];
    const alone: { budgetId: string; amount: bigint }[] = [];
    for (const { budget, windowKey } of stands) {
      const amount = amountOf(budget.unit, request.worst);
      if (windowKey === null) alone.push({ budgetId: budget.id, amount });
      else counters.push({ budgetId: budget.id, windowKey, amount });
    }
    return { ...holdRow(request, { counters, shadowVerdicts: [] }), alone };
  });
}

/** The row of a hold; it stands somewhat longer than it may be used, so that a call that ends in time can be settled. */
export function holdRow(
  { attempt, worst, deadlineMs }: HoldRequest,
  { counters, shadowVerdicts }: { readonly counters: Amounts; readonly shadowVerdicts: readonly ShadowVerdict[] },
): HoldRow {
  return {
    id: attempt.id,
    alone: [],
    counters,
    crashRow: crashRow(attempt, worst, shadowVerdicts),
    deadlineMs: deadlineMs + holdGraceMs,
  };
}

/** What a call asks of a budget at most, in the budget's unit. */
export function amountOf(unit: BudgetUnit, worst: WorstCase): bigint {
  if (unit === 'usd') return worst.usd;
  return unit === 'tokens' ? worst.tokens : 1n;
}
