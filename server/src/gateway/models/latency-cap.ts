import { PortcullisError } from '../../base/errors.ts';
import type { Budget, ShadowVerdict, Shortfall } from '../../budget/model.ts';
import { budgetExceeded, shadowVerdict } from '../../budget/refusal.ts';

/** How long an attempt may take, by a budget whose unit is `latency_ms`. */
export interface LatencyCap {
  readonly budget: Budget;
  readonly ms: number;
}

export interface LatencyCaps {
  /** The tightest of those that decide; null where none does. */
  readonly enforced: LatencyCap | null;
  /** Those in dry run: they only say what they would have ended. */
  readonly dryRun: readonly LatencyCap[];
}

/** The caps among the budgets that count an attempt. They have no counters, so that their limits are those known here. */
export function latencyCaps(budgets: readonly Budget[]): LatencyCaps {
  const caps = budgets.flatMap((budget) =>
    budget.unit === 'latency_ms' && budget.limit !== null ? [{ budget, ms: Number(budget.limit) }] : [],
  );
  const enforced = caps.filter(({ budget }) => budget.mode === 'enforce').toSorted((a, b) => a.ms - b.ms);
  return { enforced: enforced[0] ?? null, dryRun: caps.filter(({ budget }) => budget.mode === 'dry_run') };
}

/** A cap of 0 denies. @throws PortcullisError budget_exceeded */
export function requireTime({ enforced }: LatencyCaps): void {
  if (enforced?.ms === 0) throw budgetExceeded(shortfallOf(enforced.budget, 0n));
}

/** What ends an attempt that took longer than it may. It was paid for, and the same again would take as long. */
export function tookTooLong({ budget: { name }, ms }: LatencyCap): PortcullisError {
  return new PortcullisError(
    'deadline_exceeded',
    `Budget "${name}" allows an attempt ${ms} ms, and this one took longer: ask for less output, or have an operator raise it.`,
    { rule: name, unit: 'latency_ms', limit: String(ms), final: true },
  );
}

/** What the caps in dry run would have ended of an attempt that took so long. */
export function latencyShadows({ dryRun }: LatencyCaps, tookMs: number): ShadowVerdict[] {
  return dryRun
    .filter(({ ms }) => tookMs > ms)
    .map(({ budget }) => shadowVerdict(shortfallOf(budget, BigInt(Math.ceil(tookMs)))));
}

function shortfallOf(budget: Budget, observed: bigint): Shortfall {
  const meter = { budget, posted: observed, held: 0n, leased: 0n, accumulates: false, endsAt: null };
  return { meter, amount: observed, observed, limit: budget.limit ?? 0n };
}
