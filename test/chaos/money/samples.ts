import { setTimeout as sleep } from 'node:timers/promises';
import type { Replica } from './replica.ts';

/** Where a budget stood at some instant; times are epoch milliseconds. */
export interface Standing {
  readonly budgetId: string;
  readonly limit: bigint | null;
  readonly posted: bigint;
  readonly held: bigint;
  readonly remaining: bigint | null;
  /** Null where the window does not end by itself. */
  readonly resetsAt: number | null;
}

export interface Sample extends Standing {
  /** When the answer was there. */
  readonly at: number;
}

interface Status {
  readonly budget: { readonly id: string; readonly limitAmount?: string };
  readonly standing?: {
    readonly postedAmount?: string;
    readonly heldAmount?: string;
    readonly remainingAmount?: string;
    readonly resetTime?: string;
  };
}

const pageSize = 500;

/** Where all budgets stand that have one standing. */
export async function standings({ gate }: Replica): Promise<Standing[]> {
  const { budgets = [] } = await gate.api<{ budgets?: Status[] }>('BudgetService/ListBudgets', { pageSize });
  return budgets.flatMap(({ budget, standing }) => {
    if (!standing) return [];
    const { postedAmount, heldAmount, remainingAmount, resetTime } = standing;
    return {
      budgetId: budget.id,
      limit: budget.limitAmount === undefined ? null : BigInt(budget.limitAmount),
      posted: BigInt(postedAmount ?? '0'),
      held: BigInt(heldAmount ?? '0'),
      remaining: remainingAmount === undefined ? null : BigInt(remainingAmount),
      resetsAt: resetTime === undefined ? null : Date.parse(resetTime),
    };
  });
}

/** Asks one gateway after the other, until `signal` aborts; one that is away is passed over. */
export async function sampling(replicas: readonly Replica[], everyMs: number, signal: AbortSignal): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let turn = 0; !signal.aborted; turn++) {
    const replica = replicas[turn % replicas.length];
    if (replica?.state === 'serving') {
      const found = await standings(replica).catch(() => []);
      const at = Date.now();
      samples.push(...found.map((standing) => ({ ...standing, at })));
    }
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
  }
  return samples;
}
