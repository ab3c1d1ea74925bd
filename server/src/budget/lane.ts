import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { endingTriesMax, holdBatchMax, holdQueueMax, holdWaitMs, settleQueueMax } from '../base/limits.ts';
import type { Logger } from '../base/log.ts';
import { isRolledBack, isUnavailable } from '../pg/errors.ts';
import { inTransaction } from '../pg/tx.ts';
import { type Decision, type Placed, decide, holdRow, hopefulHolds } from './admission.ts';
import { notSettled, unavailable } from './lane-errors.ts';
import { type Granted, type QueuedEnding, type QueuedHold, queuedEnding, queuedHold } from './lane-queue.ts';
import { abandonHolds, correctHolds } from './late-holds-store.ts';
import type { HoldRequest } from './model.ts';
import { type Placement, counterKeys } from './placement.ts';
import { SlowCallers } from './slow-callers.ts';
import { type Committed, type EndingRow, type HoldRow, commitBatch, lockBudgets } from './store.ts';

export interface LaneOptions {
  readonly pool: Pool;
  readonly instanceId: string;
  readonly placement: Placement;
  /** What gives back a hold that may stand although its caller was told that it does not. */
  readonly endingInDoubt: (request: HoldRequest) => EndingRow;
  readonly log: Logger;
}

const pauseMsMin = 50;
const pauseMsMax = 1_000;

/**
 * The one lane on which a process holds money and ends holds, many calls to a commit (decision 0014). A hold fails at
 * once when the database is away; an ending must get through, and is tried again until it does.
 */
export class MoneyLane {
  readonly #options: LaneOptions;
  readonly #placement: Placement;
  readonly #slow = new SlowCallers();
  #holds: QueuedHold[] = [];
  #endings: QueuedEnding[] = [];
  #running: Promise<void> | undefined;
  readonly #stop = new AbortController();
  /** Monotonic milliseconds before which endings are not tried again. */
  #restsUntil = -Infinity;
  #pauseMs = pauseMsMin;
  /** Ends a rest early, for a hold that came. */
  #wake: AbortController | null = null;
  #lost = 0;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#placement = options.placement;
  }

  /**
   * Holds the worst case on every budget or on none; durable when it resolves.
   * @throws PortcullisError budget_exceeded; unavailable when the queue is full, or the database away or slow; internal
   * when the database refuses this very hold
   */
  hold(request: HoldRequest): Promise<Granted> {
    return new Promise((resolve, reject) => {
      if (this.#holds.length >= holdQueueMax) return reject(unavailable('Too many calls wait for their budgets'));
      this.#holds.push(queuedHold(request, holdWaitMs, resolve, reject));
      this.#wake?.abort();
      this.#start();
    });
  }

  /**
   * Ends a hold; resolves once that is durable.
   * @throws PortcullisError unavailable when that takes longer than the limit: the lane goes on trying, and if it never
   * succeeds the hold is posted at its worst case when its deadline passes
   */
  end(ending: EndingRow): Promise<void> {
    return new Promise((resolve, reject) => {
      const queued = queuedEnding(ending, resolve, reject);
      if (this.#endings.length >= settleQueueMax) return queued.failed(notSettled());
      this.#endings.push(queued);
      this.#start();
    });
  }

  /** Writes a ledger row that no hold belongs to; nobody waits for it. */
  record(ending: EndingRow): void {
    this.#addUnattended(ending, false);
  }

  /** Resolves once everything added so far, and while it waits, was committed or given up. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Waits until all is written; what cannot be written within `graceMs` is given up. */
  async stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(), graceMs);
    await this.idle();
    clearTimeout(timer);
  }

  #addUnattended(ending: EndingRow, inDoubt: boolean): void {
    // Money comes first: in an outage every call is refused, and their rows must not take the places of settlements.
    if (this.#endings.length >= (inDoubt ? settleQueueMax : settleQueueMax / 2)) return this.#lose();
    this.#endings.push({ ending, inDoubt, refusals: 0, written: () => undefined, failed: () => this.#lose() });
    this.#start();
  }

  /** Said at once and then at every doubling, since a flood of refusals is what gets here. */
  #lose(): void {
    this.#lost += 1;
    if (Number.isInteger(Math.log2(this.#lost))) {
      this.#options.log.error(
        { lost: this.#lost },
        'Ledger rows of refused calls were lost: the database does not keep up.',
      );
    }
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // What arrives within one turn of the event loop shares the first commit.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    for (;;) {
      const holds = this.#holds.splice(0, holdBatchMax).filter(({ answer }) => answer !== null);
      const rests = performance.now() < this.#restsUntil && !this.#stop.signal.aborted;
      const endings = rests ? [] : this.#endings.splice(0, holdBatchMax);
      if (holds.length + endings.length > 0) await this.#commit(holds, endings);
      else if (this.#endings.length > 0) await this.#rest();
      else if (this.#holds.length === 0) break;
    }
    this.#running = undefined;
  }

  /** Until endings may be tried again, a hold comes, or no more time is given. */
  async #rest(): Promise<void> {
    this.#wake = new AbortController();
    const signal = AbortSignal.any([this.#wake.signal, this.#stop.signal]);
    await sleep(Math.max(0, this.#restsUntil - performance.now()), undefined, { signal }).catch(() => undefined);
    this.#wake = null;
  }

  async #commit(holds: readonly QueuedHold[], endings: readonly QueuedEnding[]): Promise<void> {
    const quick: QueuedHold[] = [];
    const slow: QueuedHold[] = [];
    for (const hold of holds) (this.#slow.has(hold.request) ? slow : quick).push(hold);
    await this.#commitAtOnce(quick, endings);
    if (slow.length > 0) await this.#decide(slow);
  }

  /** All in one statement, in the hope that all fit. */
  async #commitAtOnce(holds: readonly QueuedHold[], endings: readonly QueuedEnding[]): Promise<void> {
    const certain = endings.filter(({ inDoubt }) => !inDoubt);
    let sent = false;
    let rows: readonly HoldRow[];
    let committed: Committed = nothingCommitted;
    try {
      rows = hopefulHolds(this.#placement.place(holds.map(({ request }) => request)));
      const batch = { endings: certain.map(({ ending }) => ending), holds: rows, decided: false };
      if (holds.length + certain.length > 0) {
        committed = await this.#onConnection((client) => {
          sent = true;
          return commitBatch(client, this.#options.instanceId, batch);
        });
      }
    } catch (error) {
      return this.#failed(holds, endings, error, sent);
    }
    this.#pauseMs = pauseMsMin;
    const isLate = ({ ending: { holdId }, inDoubt }: QueuedEnding) =>
      inDoubt || (holdId !== null && !committed.ended.has(holdId));
    for (const queued of endings) if (!isLate(queued)) queued.written();
    if (committed.held) {
      for (const [index, queued] of holds.entries())
        this.#answer(queued, { shadowVerdicts: [], counters: rows[index]?.counters ?? [] });
    } else await this.#decide(holds);
    const late = endings.filter(isLate);
    if (late.length > 0) await this.#correct(late);
  }

  /** Not all fit, or a counter is missing: call by call, under lock. */
  async #decide(holds: readonly QueuedHold[]): Promise<void> {
    let sent = false;
    try {
      const placed = this.#placement.place(holds.map(({ request }) => request));
      const decisions = await this.#decideInTransaction(placed, () => {
        sent = true;
      });
      for (const [index, queued] of holds.entries()) {
        const decision = decisions[index];
        if (!decision?.admitted || decision.shadowVerdicts.length > 0) this.#slow.note(queued.request);
        if (decision?.admitted) this.#answer(queued, decision);
        else queued.answer?.refused(decision?.error);
      }
    } catch (error) {
      await this.#failed(holds, [], error, sent);
    }
  }

  /** `writing` is called when from then on a failure leaves the outcome in doubt. */
  async #decideInTransaction(placed: readonly Placed[], writing: () => void): Promise<Decision[]> {
    const { pool, instanceId } = this.#options;
    const keys = counterKeys(placed);
    const decisions = await inTransaction(pool, async (tx) => {
      await this.#placement.makeCounters(tx, keys);
      const budgetIds = new Set(placed.flatMap(({ stands }) => stands.map(({ budget }) => budget.id)));
      const decided = decide(placed, await lockBudgets(tx, [...budgetIds], keys));
      const holds = decided.flatMap((decision, index) => {
        const request = placed[index]?.request;
        return decision.admitted && request ? holdRow(request, decision) : [];
      });
      if (holds.length > 0) {
        writing();
        await commitBatch(tx, instanceId, { endings: [], holds, decided: true });
      }
      return decided;
    });
    this.#placement.remember(keys);
    return decisions;
  }

  /** Holds that the sweeper posted before their end came, and holds of which nobody knows whether they stand. */
  async #correct(late: readonly QueuedEnding[]): Promise<void> {
    const { pool, instanceId } = this.#options;
    const doubtful = late.flatMap(({ ending, inDoubt }) => (inDoubt ? (ending.holdId ?? []) : []));
    try {
      if (doubtful.length > 0) await abandonHolds(pool, instanceId, doubtful);
      await correctHolds(
        pool,
        late.map(({ ending }) => ending),
      );
      for (const { written } of late) written();
    } catch (error) {
      await this.#failed([], late, error, true);
    }
  }

  #answer(queued: QueuedHold, granted: Granted): void {
    if (queued.answer) queued.answer.granted(granted);
    else this.#giveBack(queued);
  }

  #giveBack({ request }: QueuedHold): void {
    this.#addUnattended(this.#options.endingInDoubt(request), true);
  }

  /** Nothing of this is known to be written. `sent`: but some of it may be. */
  async #failed(
    holds: readonly QueuedHold[],
    endings: readonly QueuedEnding[],
    error: unknown,
    sent: boolean,
  ): Promise<void> {
    this.#placement.forget();
    if (!isUnavailable(error)) return this.#divide(holds, endings, error);
    const isInDoubt = sent && !isRolledBack(error);
    for (const queued of holds) {
      if (isInDoubt) this.#giveBack(queued);
      queued.answer?.refused(unavailable('The database cannot be reached', error));
    }
    if (endings.length === 0) return;
    if (this.#stop.signal.aborted) return fail(endings, error);
    this.#options.log.warn({ err: error, endings: endings.length }, 'Settlements wait for the database.');
    this.#endings = [...endings, ...this.#endings];
    this.#restsUntil = performance.now() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
  }

  /** Something in one row offends the database: its neighbours must not suffer for it. */
  async #divide(holds: readonly QueuedHold[], endings: readonly QueuedEnding[], error: unknown): Promise<void> {
    if (holds.length + endings.length === 1) {
      const [hold] = holds;
      if (hold) return hold.answer?.refused(PortcullisError.from(error));
      return this.#refuseEnding(endings, error);
    }
    if (holds.length > 0 && endings.length > 0) {
      await this.#commit([], endings);
      return this.#commit(holds, []);
    }
    const middle = Math.ceil(Math.max(holds.length, endings.length) / 2);
    await this.#commit(holds.slice(0, middle), endings.slice(0, middle));
    await this.#commit(holds.slice(middle), endings.slice(middle));
  }

  /** It may be a passing reason, such as a table that is being changed. */
  #refuseEnding(endings: readonly QueuedEnding[], error: unknown): void {
    for (const queued of endings) {
      queued.refusals += 1;
      if (queued.refusals < endingTriesMax && !this.#stop.signal.aborted) {
        this.#endings.unshift(queued);
        this.#restsUntil = performance.now() + pauseMsMin;
        continue;
      }
      const { holdId } = queued.ending;
      this.#options.log.error({ err: error, hold: holdId }, 'A settlement was refused by the database.');
      fail([queued], error);
    }
  }

  /** A connection whose state is in doubt is closed, not reused. */
  async #onConnection<T>(work: (client: Parameters<typeof commitBatch>[0]) => Promise<T>): Promise<T> {
    const client = await this.#options.pool.connect();
    let broken = false;
    try {
      return await work(client);
    } catch (error) {
      broken = isUnavailable(error);
      throw error;
    } finally {
      client.release(broken);
    }
  }
}

const nothingCommitted: Committed = { ended: new Set(), held: true };

function fail(endings: readonly QueuedEnding[], error: unknown): void {
  for (const { failed } of endings) failed(notSettled(error));
}
