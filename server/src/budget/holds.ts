import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { countersKnownMax, holdBatchMax, holdQueueMax, holdWaitMs } from '../base/limits.ts';
import { isUnavailable } from '../pg/errors.ts';
import { type Tx, inTransaction } from '../pg/tx.ts';
import { type Decision, type Placed, type Stand, decide, holdRow, hopefulHolds } from './admission.ts';
import { Calendar } from './calendar.ts';
import { GroupCommit } from './group-commit.ts';
import type { HoldRequest, ShadowVerdict } from './model.ts';
import { type CounterKey, type LockedBudget, insertCounters, insertHolds, lockBudgets } from './store.ts';

export interface HoldLaneOptions {
  readonly pool: Pool;
  readonly instanceId: string;
  /** Epoch milliseconds by the database's clock: windows change when it says so, for all processes alike. */
  readonly databaseNow: () => number;
  /** Told of each hold that may stand although its caller was told that it does not. */
  readonly inDoubt: (request: HoldRequest) => void;
}

interface QueuedRequest extends HoldRequest {
  /** Null once the caller has its answer. */
  answer: {
    readonly granted: (shadows: readonly ShadowVerdict[]) => void;
    readonly refused: (error: unknown) => void;
  } | null;
}

/**
 * The lane on which holds are committed, many calls to a transaction. Counters are locked in one order by everybody, and
 * the limits that decide are read under the lock, so any number of lanes in any number of processes admit exactly what fits.
 */
export class HoldLane {
  readonly #options: HoldLaneOptions;
  readonly #lane: GroupCommit<QueuedRequest>;
  readonly #calendar = new Calendar();
  readonly #knownCounters = new Set<string>();

  constructor(options: HoldLaneOptions) {
    this.#options = options;
    this.#lane = new GroupCommit({
      commit: (batch) => this.#commit(batch.filter((request) => request.answer !== null)),
      batchMax: holdBatchMax,
      queueMax: holdQueueMax,
    });
  }

  /**
   * Holds the worst case on every budget or on none.
   * @returns once committed, what dry-run budgets would have refused
   * @throws PortcullisError budget_exceeded; unavailable when the queue is full, or the database away or slow; internal
   * when the database refuses this very hold
   */
  hold(request: HoldRequest): Promise<readonly ShadowVerdict[]> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        queued.answer = null;
        reject(unavailable('The database did not answer in time'));
      }, holdWaitMs);
      const queued: QueuedRequest = {
        ...request,
        answer: {
          granted: (shadows) => {
            clearTimeout(timer);
            resolve(shadows);
          },
          refused: (error) => {
            clearTimeout(timer);
            reject(error);
          },
        },
      };
      if (!this.#lane.add(queued)) queued.answer?.refused(unavailable('Too many calls wait for their budgets'));
    });
  }

  idle(): Promise<void> {
    return this.#lane.idle();
  }

  async #commit(batch: readonly QueuedRequest[]): Promise<void> {
    if (batch.length === 0) return;
    let written = false;
    try {
      const decisions = await this.#decide(batch, () => {
        written = true;
      });
      for (const [index, request] of batch.entries()) this.#answer(request, decisions[index]);
    } catch (error) {
      this.#knownCounters.clear();
      const away = isUnavailable(error);
      if (!away && batch.length > 1) {
        // Something in one call offends the database: its neighbours must not suffer for it.
        const middle = Math.ceil(batch.length / 2);
        await this.#commit(batch.slice(0, middle));
        await this.#commit(batch.slice(middle));
        return;
      }
      const refusal = away ? unavailable('The database cannot be reached', error) : PortcullisError.from(error);
      for (const request of batch) {
        if (away && written) this.#options.inDoubt(request);
        request.answer?.refused(refusal);
      }
    }
  }

  #answer(request: QueuedRequest, decision: Decision | undefined): void {
    if (!decision?.admitted) request.answer?.refused(decision?.error);
    else if (request.answer) request.answer.granted(decision.shadowVerdicts);
    else this.#options.inDoubt(request);
  }

  /** Decides and commits a batch; `writing` is called when from then on a failure leaves the outcome in doubt. */
  async #decide(batch: readonly QueuedRequest[], writing: () => void): Promise<Decision[]> {
    const { pool, instanceId, databaseNow } = this.#options;
    const now = databaseNow();
    const placed = batch.map((request) => ({ request, stands: this.#place(request, now) }));
    const hopeful = hopefulHolds(placed);
    if (hopeful !== null) {
      writing();
      if (await insertHolds(pool, instanceId, hopeful, { decided: false })) return batch.map(() => admitted);
    }
    const keys = counterKeys(placed);
    const decisions = await inTransaction(pool, async (tx) => {
      await this.#makeCounters(tx, keys);
      const decided = decide(placed, await this.#lock(tx, placed, keys));
      const holds = decided.flatMap((decision, index) => {
        const request = batch[index];
        return decision.admitted && request ? holdRow(request, decision.counters, decision.shadowVerdicts) : [];
      });
      if (holds.length > 0) {
        writing();
        await insertHolds(tx, instanceId, holds, { decided: true });
      }
      return decided;
    });
    this.#remember(keys);
    return decisions;
  }

  #place(request: HoldRequest, now: number): Stand[] {
    return request.budgets.map((budget) => {
      if (budget.window === 'attempt') return { budget, windowKey: null, endsAt: null };
      if (budget.window === 'lifetime') return { budget, windowKey: 'lifetime', endsAt: null };
      if (budget.window === 'run') return { budget, windowKey: request.attempt.runId ?? '', endsAt: null };
      const { key, endsAt } = this.#calendar.at(budget.window, budget.timeZone, now);
      return { budget, windowKey: key, endsAt };
    });
  }

  async #lock(tx: Tx, placed: readonly Placed[], keys: readonly CounterKey[]): Promise<LockedBudget[]> {
    const budgetIds = new Set(placed.flatMap(({ stands }) => stands.map(({ budget }) => budget.id)));
    return budgetIds.size === 0 ? [] : lockBudgets(tx, [...budgetIds], keys);
  }

  /** A counter that was once committed is there for good, so a lane makes each only once. */
  async #makeCounters(tx: Tx, keys: readonly CounterKey[]): Promise<void> {
    const unknown = keys.filter((key) => !this.#knownCounters.has(counterName(key)));
    if (unknown.length > 0) await insertCounters(tx, unknown);
  }

  #remember(keys: readonly CounterKey[]): void {
    if (this.#knownCounters.size + keys.length > countersKnownMax) this.#knownCounters.clear();
    for (const key of keys) this.#knownCounters.add(counterName(key));
  }
}

const admitted: Decision = { admitted: true, counters: [], shadowVerdicts: [] };

function counterKeys(placed: readonly Placed[]): CounterKey[] {
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

function counterName({ budgetId, windowKey }: CounterKey): string {
  return `${budgetId} ${windowKey}`;
}

function unavailable(reason: string, cause?: unknown): PortcullisError {
  return new PortcullisError('unavailable', `${reason}, so no money could be held: nothing was sent. Try again.`, {
    retryAfterS: 1,
    ...(cause === undefined ? {} : { cause }),
  });
}
