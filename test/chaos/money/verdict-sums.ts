import { type Account, amountOf, counts } from './books.ts';
import type { ChaosBudget } from './cast.ts';
import type { Evidence } from './evidence.ts';
import type { Finding } from './finding.ts';
import { type Made, requestIdOf } from './load.ts';
import type { Standing } from './samples.ts';
import { windowBefore, windowNamed, windowsOf } from './windows.ts';

/** A client that left may have a call that is still being held for. */
const stragglerMs = 30_000;

/** 4: at the end nothing is held, what is left is limit - posted, and posted is the sum of the rows that count. */
export function judgeSums(evidence: Evidence): Finding {
  const { cast, ends, durability } = evidence;
  const violations: string[] = [];
  const standingOf = new Map(ends.map((standing) => [standing.budgetId, standing]));
  let exact = 0;
  let posted = 0;
  for (const budget of cast.budgets) {
    if (budget.window === 'ATTEMPT') continue;
    if (budget.window === 'RUN') {
      violations.push(...judgeRuns(evidence, budget));
      continue;
    }
    const standing = standingOf.get(budget.id);
    if (!standing) {
      violations.push(`"${budget.name}" has no standing`);
      continue;
    }
    violations.push(...judgeRest(budget, standing));
    const { least, most, posting } = sumOf(evidence, budget, standing);
    if (least === most) exact++;
    if (posting !== 0n) posted++;
    if (standing.posted < least + posting || standing.posted > most + posting)
      violations.push(
        `"${budget.name}" has ${standing.posted} posted: its rows say ${least === most ? least : `${least} to ${most}`}, and postings of leases ${posting}`,
      );
  }
  return {
    invariant: `4. at the end nothing is held, available = limit - posted, and posted = the sum of the rows${durability === 'strict' ? '' : ' and of lease postings'}`,
    counts: `${cast.budgets.length} budgets, ${exact} sums to the last unit${durability === 'strict' ? '' : `, ${posted} with postings of leases`}`,
    violations,
  };
}

function judgeRest({ name }: ChaosBudget, { posted, held, limit, remaining }: Standing): string[] {
  const left = limit === null ? null : limit > posted ? limit - posted : 0n;
  return [
    ...(held === 0n ? [] : [`"${name}" still holds ${held}`]),
    ...(remaining === left ? [] : [`"${name}" says that ${remaining} is left: ${posted} of ${limit} is spent`]),
  ];
}

/** What the rows add up to in the window that a budget stands in: from what is surely in it, and what may be. */
function sumOf(
  { accounts, postings, ...evidence }: Evidence,
  budget: ChaosBudget,
  standing: Standing,
): { least: bigint; most: bigint; posting: bigint } {
  const window = standing.resetsAt === null ? null : windowBefore(budget, standing.resetsAt);
  const intervalOf = window === null ? null : intervals(evidence);
  let [least, most] = [0n, 0n];
  for (const account of accounts.values()) {
    if (!counts(budget, account.row)) continue;
    const amount = amountOf(budget, account);
    const windows = intervalOf && windowsOf(budget, evidence.stage.database.clock, ...intervalOf(account));
    if (window !== null && windows?.has(window) !== true) continue;
    most += amount;
    if (windows === null || windows.size === 1) least += amount;
  }
  const posting = postings
    .filter(
      ({ budgetId, windowKey }) =>
        budgetId === budget.id && (window === null || windowNamed(budget, windowKey) === window),
    )
    .reduce((sum, { amount }) => sum + BigInt(amount), 0n);
  return { least, most, posting };
}

/** When an attempt was held for, at the earliest and the latest (epoch milliseconds). */
function intervals({ seen, made }: Pick<Evidence, 'seen' | 'made'>): (account: Account) => [number, number] {
  const receivedAt = new Map(seen.map((request) => [request.attemptId, request.receivedAt]));
  const calls = new Map<string, Made>(made.map((call) => [call.requestId, call]));
  return ({ attemptId, row }) => {
    const call = calls.get(row.requestId);
    const from = call?.startedAt ?? 0;
    return [from, receivedAt.get(attemptId) ?? (call?.endedAt ?? Infinity) + stragglerMs];
  };
}

/** Each run is a window of its own, without a standing: no run may have more than the limit. */
function judgeRuns({ accounts }: Evidence, budget: ChaosBudget): string[] {
  const used = new Map<string, bigint>();
  for (const account of accounts.values()) {
    const { runId } = account.row;
    if (runId !== undefined && counts(budget, account.row))
      used.set(runId, (used.get(runId) ?? 0n) + amountOf(budget, account));
  }
  const limit = budget.limits.at(-1)?.limit ?? null;
  return [...used].flatMap(([runId, amount]) =>
    limit !== null && amount > limit ? [`"${budget.name}" allows ${limit}, and ${runId} used ${amount}`] : [],
  );
}

/**
 * 4: nothing costs less in the books than at the provider, and what was measured costs exactly as much. What a provider
 * uses beyond the declared worst case is known only where its usage came through.
 */
export function judgeCosts({ seen, accounts }: Evidence): Finding {
  const violations: string[] = [];
  let measured = 0;
  let unknown = 0;
  for (const { attemptId, label, model, usd, tokens, isOverrun } of seen) {
    const account = accounts.get(attemptId);
    // In `relaxed` the row of a killed process is in a posting without rows: judged by the sums.
    if (!account) continue;
    const { outcome, errorClass, provenance } = account.row;
    const booked = `${attemptId} (${label}, ${model}, ${outcome} ${errorClass ?? ''}, ${provenance}) costs ${usd} and ${tokens} tokens at the provider, ${account.usd} and ${account.tokens} in the books`;
    if (account.measured) {
      measured++;
      if (account.usd !== usd || account.tokens !== tokens) violations.push(`${booked}, measured`);
    } else if (account.usd < usd || account.tokens < tokens) {
      if (isOverrun) unknown++;
      else violations.push(booked);
    }
  }
  return {
    invariant: '4. booked >= charged for every request, and equal where it was measured',
    counts: `${measured} measured, ${accounts.size} attempts in all, ${unknown} overruns that broke off before their usage came`,
    violations,
  };
}

/**
 * `relaxed`: what the provider charged for calls whose rows died with their process is within the slices that were posted
 * for it, so that for each budget no more was charged than is posted. A budget without a limit leases nothing and misses them.
 */
export function judgeCharges({ seen, made, cast, ends, accounts, postings }: Evidence): Finding {
  const violations: string[] = [];
  const posted = new Map(ends.map((standing) => [standing.budgetId, standing.posted]));
  const calls = new Map(made.map((call) => [call.requestId, call]));
  const lost = seen.filter(({ attemptId, isOverrun }) => !accounts.has(attemptId) && !isOverrun);
  const budgets = cast.budgets.filter(({ window, limits }) => window === 'LIFETIME' && limits.at(-1)?.limit !== null);
  for (const budget of budgets) {
    let booked = 0n;
    for (const account of accounts.values()) if (counts(budget, account.row)) booked += amountOf(budget, account);
    let charged = 0n;
    for (const request of lost) {
      const row = rowOf(cast, calls.get(requestIdOf(request.label)));
      if (row && counts(budget, row))
        charged += amountOf(budget, { ...request, requests: request.tokens > 0n ? 1n : 0n });
    }
    const postedOnly = (posted.get(budget.id) ?? 0n) - booked;
    if (postedOnly < charged)
      violations.push(
        `"${budget.name}" has ${postedOnly} posted beyond its rows, and the provider charged ${charged} that have none`,
      );
  }
  return {
    invariant:
      '4. charged by the provider <= posted, for each budget: what has no row is within the slices of the dead',
    counts: `${budgets.length} budgets, ${lost.length} requests without a row, ${postings.length} postings of leases`,
    violations,
  };
}

/** What a row would have said of a call whose row is missing. */
function rowOf(cast: Evidence['cast'], call: Made | undefined): Account['row'] | null {
  if (!call) return null;
  const agent = cast.agents[call.plan.agent];
  const run = call.plan.run === null ? undefined : agent?.runs[call.plan.run];
  return {
    id: '',
    requestId: call.requestId,
    ...(agent && { agentId: agent.id, keyId: agent.keyId }),
    ...(run && { runId: run.id, workflow: run.workflow }),
    provider: call.plan.model.split('-')[0] ?? '',
    modelAsked: call.plan.model,
    provenance: '',
    outcome: '',
  };
}
