import { countersKnownMax } from '../base/limits.ts';
import type { Tx } from '../pg/tx.ts';
import type { Placed, Stand } from './admission.ts';
import { Calendar } from './calendar.ts';
import type { HoldRequest } from './model.ts';
import { type CounterKey, counterName, insertCounters } from './store.ts';

/** Where calls stand: the counter of each budget that counts them, in the window that the database's clock says it is. */
export class Placement {
  readonly #databaseNow: () => number;
  readonly #calendar = new Calendar();
  readonly #knownCounters = new Set<string>();

  constructor(databaseNow: () => number) {
    this.#databaseNow = databaseNow;
  }

  place(requests: readonly HoldRequest[]): Placed[] {
    const now = this.#databaseNow();
    return requests.map((request) => ({
      request,
      // How long an attempt may take is its deadline, and no amount.
      stands: request.budgets.flatMap((budget) =>
        budget.unit === 'latency_ms' ? [] : this.#stand(budget, request, now),
      ),
    }));
  }

  /** A counter that was once committed is there for good, so each is made only once. */
  async makeCounters(tx: Tx, keys: readonly CounterKey[]): Promise<void> {
    const unknown = keys.filter((key) => !this.#knownCounters.has(counterName(key)));
    if (unknown.length > 0) await insertCounters(tx, unknown);
  }

  /** To be told once the counters are committed. */
  remember(keys: readonly CounterKey[]): void {
    if (this.#knownCounters.size + keys.length > countersKnownMax) this.#knownCounters.clear();
    for (const key of keys) this.#knownCounters.add(counterName(key));
  }

  /** Another database, or an older state of it, may have taken the address. */
  forget(): void {
    this.#knownCounters.clear();
  }

  #stand(budget: HoldRequest['budgets'][number], { attempt }: HoldRequest, now: number): Stand {
    if (budget.window === 'attempt') return { budget, windowKey: null, endsAt: null };
    if (budget.window === 'lifetime') return { budget, windowKey: 'lifetime', endsAt: null };
    if (budget.window === 'run') return { budget, windowKey: attempt.runId ?? '', endsAt: null };
    const { key, endsAt } = this.#calendar.at(budget.window, budget.timeZone, now);
    return { budget, windowKey: key, endsAt };
  }
}

/** The counters of calls, each once. */
export function counterKeys(placed: readonly Placed[]): CounterKey[] {
  const keys = new Map<string, CounterKey>();
  for (const { stands } of placed) {
    for (const { budget, windowKey } of stands) {
      if (windowKey === null) continue;
      const key = { budgetId: budget.id, windowKey };
      keys.set(counterName(key), key);
    }
  }
  return [...keys.values()];
}
