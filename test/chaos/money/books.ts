import type { ChaosBudget } from './cast.ts';
import type { Replica } from './replica.ts';

/** A row of the ledger as the API shows it; what is zero or absent is left out. */
export interface Row {
  readonly id: string;
  readonly requestId: string;
  readonly agentId?: string;
  readonly keyId?: string;
  readonly runId?: string;
  readonly workflow?: string;
  readonly provider?: string;
  readonly modelAsked?: string;
  readonly inputTokens?: string;
  readonly outputTokens?: string;
  readonly cacheReadTokens?: string;
  readonly cacheWrite5mTokens?: string;
  readonly cacheWrite1hTokens?: string;
  readonly costNanousd?: string;
  readonly heldNanousd?: string;
  readonly provenance: string;
  readonly outcome: string;
  readonly errorClass?: string;
  readonly rule?: string;
  readonly overrun?: boolean;
  readonly corrects?: string;
  readonly shadowVerdicts?: readonly { readonly budgetId: string; readonly requested: string }[];
}

/** All that the ledger says about one attempt, corrections included. */
export interface Account {
  readonly attemptId: string;
  /** The row that is no correction; the first where there are several. */
  readonly row: Row;
  readonly rows: readonly Row[];
  readonly usd: bigint;
  readonly tokens: bigint;
  /** Whether it counts as a request: whatever was given back used nothing at all. */
  readonly requests: bigint;
  readonly measured: boolean;
  readonly overrun: boolean;
}

const pageSize = 500;

/** Every row of the ledger, newest first. */
export function readLedger(replica: Replica): Promise<Row[]> {
  return readAll(replica, 'AnalyticsService/ListAttempts', ({ attempts }) => attempts);
}

/** A slice of a budget that was posted whole since its process died; negative where that told later what it had spent. */
export interface LeasePosting {
  readonly budgetId: string;
  readonly windowKey: string;
  readonly amount: string;
}

export function readLeasePostings(replica: Replica): Promise<LeasePosting[]> {
  return readAll(replica, 'BudgetService/ListLeasePostings', ({ postings }) => postings);
}

interface Page {
  readonly attempts?: readonly Row[];
  readonly postings?: readonly LeasePosting[];
  readonly nextPageToken?: string;
}

async function readAll<T>(
  { gate }: Replica,
  method: string,
  itemsOf: (page: Page) => readonly T[] | undefined,
): Promise<T[]> {
  const items: T[] = [];
  let pageToken = '';
  do {
    const page: Page = await gate.api(method, { pageSize, pageToken });
    items.push(...(itemsOf(page) ?? []));
    pageToken = page.nextPageToken ?? '';
  } while (pageToken !== '');
  return items;
}

export function accountsOf(rows: readonly Row[]): Account[] {
  return [...Map.groupBy(rows, ({ id, corrects }) => corrects ?? id)].map(([attemptId, own]) => {
    const tokens = own.reduce((sum, row) => sum + tokensOf(row), 0n);
    return {
      attemptId,
      row: own.find(({ corrects }) => corrects === undefined) ?? own[0]!,
      rows: own,
      usd: own.reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n),
      tokens,
      requests: tokens > 0n ? 1n : 0n,
      // The last word about it: rows come newest first.
      measured: own[0]?.provenance === 'PROVENANCE_MEASURED',
      overrun: own.some(({ overrun }) => overrun === true),
    };
  });
}

function tokensOf(row: Row): bigint {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens } = row;
  return [inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens].reduce(
    (sum, tokens) => sum + BigInt(tokens ?? '0'),
    0n,
  );
}

/** Whether a budget counts what such a row tells of. */
export function counts({ selector, window }: Pick<ChaosBudget, 'selector' | 'window'>, row: Row): boolean {
  const { agentId, keyId, runId, workflow, provider, model } = selector;
  if (window === 'RUN' && row.runId === undefined) return false;
  return (
    (agentId === undefined || agentId === row.agentId) &&
    (keyId === undefined || keyId === row.keyId) &&
    (runId === undefined || runId === row.runId) &&
    (workflow === undefined || workflow === row.workflow) &&
    (provider === undefined || provider === row.provider) &&
    (model === undefined || (row.modelAsked?.startsWith(model.replace('*', '')) ?? false))
  );
}

export function amountOf(
  { unit }: Pick<ChaosBudget, 'unit'>,
  { usd, tokens, requests }: Pick<Account, 'usd' | 'tokens' | 'requests'>,
): bigint {
  if (unit === 'USD') return usd;
  if (unit === 'TOKENS') return tokens;
  // What is in flight is held, and never spent.
  return unit === 'REQUESTS' ? requests : 0n;
}
