import { type Account, counts } from './books.ts';
import { type ChaosBudget, limitAt } from './cast.ts';
import type { Evidence } from './evidence.ts';
import type { Made } from './load.ts';
import type { Finding } from './finding.ts';

interface Overrun {
  readonly at: number;
  readonly account: Account;
}

/** 1: posted + held <= limit + recorded overruns, whenever anybody looked; and no overrun that the provider did not cause. */
export function judgeLimits(evidence: Evidence): Finding {
  const { samples, cast, seen, accounts } = evidence;
  const violations: string[] = [];
  const requests = new Map(seen.map((request) => [request.attemptId, request]));
  const overruns: Overrun[] = [];
  for (const account of accounts.values()) {
    if (!account.overrun) continue;
    const request = requests.get(account.attemptId);
    if (!request?.isOverrun)
      violations.push(`overrun of ${account.attemptId}, and the provider used no more than declared`);
    overruns.push({ at: request?.receivedAt ?? 0, account });
  }
  for (const { attemptId, isOverrun, label } of seen) {
    const account = accounts.get(attemptId);
    if (isOverrun && account?.measured === true && !account.overrun)
      violations.push(`${attemptId} (${label}) used more than declared, and no overrun is recorded`);
  }
  const byBudget = Map.groupBy(samples, ({ budgetId }) => budgetId);
  for (const budget of cast.budgets) {
    if (budget.dryRun) continue;
    const own = overruns.filter(({ account }) => counts(budget, account.row)).toSorted((a, b) => a.at - b.at);
    let next = 0;
    let excess = 0n;
    for (const { at, posted, held } of byBudget.get(budget.id) ?? []) {
      for (; next < own.length && (own[next]?.at ?? Infinity) <= at; next++)
        excess += excessOf(budget, own[next]?.account);
      const limit = limitAt(budget, at);
      if (limit === null || posted + held <= limit + excess) continue;
      violations.push(
        `"${budget.name}" at ${new Date(at).toISOString()}: ${posted} posted and ${held} held of ${limit}, with overruns of ${excess}`,
      );
    }
  }
  return {
    invariant:
      "1. posted + held <= limit + recorded overruns at every sampled instant; overruns are the provider's alone",
    counts: `${samples.length} samples, ${overruns.length} overruns`,
    violations,
  };
}

/** By how much an overrun passed what was held for it; of tokens only the whole is known. */
function excessOf({ unit }: ChaosBudget, account: Account | undefined): bigint {
  if (!account) return 0n;
  if (unit === 'USD') return account.usd - BigInt(account.row.heldNanousd ?? '0');
  return unit === 'TOKENS' ? account.tokens : 0n;
}

/** 6: no refusal names a dry-run budget, and what such a budget would have refused is on record. */
export function judgeDryRuns({ cast, made, rows, seen, accounts }: Evidence): Finding {
  const violations: string[] = [];
  const dry = cast.budgets.filter(({ dryRun }) => dryRun);
  const names = new Set(dry.map(({ name }) => name));
  for (const { requestId, refusal } of made) {
    if (refusal && names.has(refusal.rule))
      violations.push(`${requestId} was refused by the dry-run budget "${refusal.rule}"`);
  }
  for (const { id, rule } of rows) {
    if (rule !== undefined && names.has(rule)) violations.push(`ledger row ${id} names the dry-run budget "${rule}"`);
  }
  const denying = dry.filter((budget) => limitAt(budget, 0) === 0n);
  let shadowed = 0;
  for (const { attemptId } of seen) {
    const row = accounts.get(attemptId)?.row;
    if (!row) continue;
    for (const budget of denying.filter((each) => counts(each, row))) {
      shadowed++;
      const verdict = row.shadowVerdicts?.some(({ budgetId }) => budgetId === budget.id) ?? false;
      if (!verdict) violations.push(`${attemptId} has no shadow verdict of "${budget.name}", which allows nothing`);
    }
  }
  return {
    invariant: '6. a dry-run budget never changes a verdict, and says what it would have refused',
    counts: `${dry.length} dry-run budgets, ${shadowed} shadow verdicts`,
    violations,
  };
}

/**
 * 2, under faults: no call was refused although there was room. A refusal is false by its own words where the call would
 * have fitted in what it says is left; and, where requests are counted, where it saw more of them than were ever made.
 */
export function judgeRefusals({ cast, made, accounts, durability }: Evidence): Finding & { readonly refusals: number } {
  const violations: string[] = [];
  const budgets = new Map(cast.budgets.map((budget) => [budget.name, budget]));
  const startOf = new Map(made.map(({ requestId, startedAt }) => [requestId, startedAt]));
  const startsOf = new Map<string, number[]>();
  const refused = made.filter(
    (call): call is Made & { refusal: NonNullable<Made['refusal']> } => call.refusal !== null,
  );
  let mostUnseen = 0n;
  for (const { refusal, requestId, endedAt } of refused) {
    const budget = budgets.get(refusal.rule);
    if (!budget) continue;
    const { limit, observed, remaining } = refusal;
    if (Number(limit) !== 0 && decimal(budget, remaining) >= leastThatFits(budget))
      violations.push(`${requestId} was refused by "${refusal.rule}" with ${remaining} left of ${limit}`);
    if (budget.unit !== 'REQUESTS' || budget.window !== 'LIFETIME') continue;
    const starts = startsOf.get(budget.id) ?? attemptStarts(budget, accounts, startOf);
    startsOf.set(budget.id, starts);
    const unseen = BigInt(observed) - BigInt(countUpTo(starts, endedAt));
    // In `relaxed` the slices of others are held too.
    const slices = durability === 'strict' ? 0n : bigger(BigInt(limit) / 100n, 1n);
    if (unseen > slices)
      violations.push(`${requestId} was refused by "${refusal.rule}", which saw ${unseen} requests that nobody made`);
    mostUnseen = bigger(unseen, mostUnseen);
  }
  return {
    invariant: `2. no refusal without cause${durability === 'strict' ? '' : ', but for the slices that others lease'}`,
    counts: `${refused.length} refusals by budgets${durability === 'strict' ? '' : `, at most ${mostUnseen} requests ahead of the books`}`,
    violations,
    refusals: refused.length,
  };
}

/** When the attempts began that a budget may have counted; those that were refused never held anything. */
function attemptStarts(
  budget: ChaosBudget,
  accounts: Evidence['accounts'],
  startOf: ReadonlyMap<string, number>,
): number[] {
  const never = new Set(['ATTEMPT_OUTCOME_REFUSED', 'ATTEMPT_OUTCOME_BUDGET']);
  return [...accounts.values()]
    .filter(({ row, tokens }) => counts(budget, row) && (tokens > 0n || !never.has(row.outcome)))
    .map(({ row }) => startOf.get(row.requestId) ?? 0)
    .toSorted((a, b) => a - b);
}

function countUpTo(sorted: readonly number[], at: number): number {
  let low = 0;
  for (let high = sorted.length; low < high;) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? Infinity) <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** From above: a body of ours, what is added to it, and the longest answer that we ask for. */
function leastThatFits({ unit }: ChaosBudget): number {
  if (unit === 'USD') return 0.003;
  return unit === 'TOKENS' ? 2_000 : 1;
}

function decimal({ unit }: ChaosBudget, text: string): number {
  return unit === 'USD' ? Number(text) : Number(BigInt(text));
}

function bigger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
