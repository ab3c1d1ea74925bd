import type { Evidence } from './evidence.ts';
import type { Finding } from './finding.ts';
import { requestIdOf } from './load.ts';

/**
 * 3, `strict`: every request that reached the provider has exactly one hold by its id, and that ended exactly once: one
 * row of the ledger that is no correction, and nothing open at the end.
 */
export function judgeHolds({ seen, accounts, openHolds, rows }: Evidence): Finding {
  const violations = [...twice(seen), ...rowsTwice(accounts)];
  for (const { attemptId, label, model } of seen) {
    if (!accounts.has(attemptId))
      violations.push(`the provider saw ${attemptId} (${label}, ${model}), and the ledger has no row of it`);
  }
  for (const id of openHolds) violations.push(`hold ${id} is open at the end`);
  return {
    invariant: '3. every request id at the provider has exactly one hold, which ended exactly once',
    counts: `${seen.length} requests at the provider, ${rows.length} ledger rows, ${openHolds.length} open holds`,
    violations,
  };
}

/** A flush comes every 100 ms, unless the database is away: here never for so long. */
const lostMs = 10_000;

/** 3, `relaxed`: rows may be missing of a process that was killed, for calls that were under way or had just ended. */
export function judgeRelaxedHolds({ seen, accounts, openHolds, rows, made, stage }: Evidence): Finding {
  const violations = [...twice(seen), ...rowsTwice(accounts)];
  const calls = new Map(made.map((call) => [call.requestId, call]));
  let missing = 0;
  let longestMs = 0;
  for (const { attemptId, label } of seen) {
    if (accounts.has(attemptId)) continue;
    missing++;
    const call = calls.get(requestIdOf(label));
    const killedAt = call && stage.replicas[call.gate]?.lives[call.life]?.killedAt;
    if (call === undefined) violations.push(`the provider saw ${attemptId} (${label}), which nobody called`);
    else if (killedAt === null || killedAt === undefined)
      violations.push(`the ledger has no row of ${attemptId} (${label}), and its process was never killed`);
    else {
      const beforeMs = killedAt - call.endedAt;
      longestMs = Math.max(longestMs, beforeMs);
      if (beforeMs > lostMs)
        violations.push(
          `the ledger has no row of ${attemptId} (${label}), which ended ${beforeMs} ms before its process was killed`,
        );
    }
  }
  for (const id of openHolds) violations.push(`hold ${id} is open at the end`);
  return {
    invariant: '3. no request id twice; rows are missing only of processes that were killed',
    counts: `${seen.length} requests at the provider, ${rows.length} ledger rows, ${missing} rows missing, of calls that ended up to ${longestMs} ms before the kill`,
    violations,
  };
}

function twice(seen: Evidence['seen']): string[] {
  return [...Map.groupBy(seen, ({ attemptId }) => attemptId)].flatMap(([id, requests]) =>
    requests.length === 1 ? [] : [`the provider saw ${id || 'requests without an id'} ${requests.length} times`],
  );
}

function rowsTwice(accounts: Evidence['accounts']): string[] {
  return [...accounts.values()].flatMap(({ attemptId, rows }) => {
    const ends = rows.filter(({ corrects }) => corrects === undefined).length;
    return ends === 1 ? [] : [`${attemptId} has ${ends} rows that are no corrections`];
  });
}
