import type { RunTotals } from './model.ts';

/** As a column of JSON has them: numbers of JSON are not exact. */
export function storedTotals(totals: RunTotals): Record<string, string> {
  return Object.fromEntries(Object.entries(totals).map(([name, amount]) => [name, String(amount)]));
}

export function keptTotals(stored: Readonly<Record<string, string>>): RunTotals {
  const read = (name: keyof RunTotals) => BigInt(stored[name] ?? 0);
  return {
    attempts: read('attempts'),
    refused: read('refused'),
    tokensInput: read('tokensInput'),
    tokensOutput: read('tokensOutput'),
    tokensCacheRead: read('tokensCacheRead'),
    tokensCacheWrite: read('tokensCacheWrite'),
    tokensReasoning: read('tokensReasoning'),
    costUsd: read('costUsd'),
    estimatedUsd: read('estimatedUsd'),
    measuredUsd: read('measuredUsd'),
    reconciledUsd: read('reconciledUsd'),
    notionalUsd: read('notionalUsd'),
  };
}

export const nothingUsed: RunTotals = keptTotals({});
