import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import {
  rollupHoursKeptDays,
  rollupMinutesKeptDays,
  rollupPurgeEveryMs,
  rollupPurgeRowsMax,
  rollupRestMs,
  rollupRowsPerSliceMax,
  rollupSeriesPerProjectMax,
} from '../base/telemetry-limits.ts';
import { inTransaction } from '../pg/tx.ts';
import type { Tx } from '../pg/tx.ts';
import { deleteBefore, keepSince, type PurgePlace, rollupTables } from './rollup-purge-store.ts';
import {
  addAttempts,
  addEvents,
  type Folded,
  type Horizon,
  moveWatermark,
  nextAttempts,
  nextEvents,
  type Place,
  rollupLagS,
  rollupSources,
  type RollupSource,
  takeWatermark,
} from './rollup-store.ts';

/** A step of a source: where it ends, and whether there was as much as a step takes. */
interface Step {
  readonly to: Place;
  readonly rows: number;
  readonly full: boolean;
  readonly folded: readonly Folded[];
  readonly horizon: Horizon;
}

interface StepOptions {
  readonly rowsMax: number;
  readonly seriesMax: number;
  /** For how long nobody looks again after somebody did. */
  readonly restMs: number;
}

const steps: Readonly<Record<RollupSource, (tx: Tx, from: Place, options: StepOptions) => Promise<Step>>> = {
  attempts: async (tx, from, { rowsMax, seriesMax }) => {
    const slice = await nextAttempts(tx, from, rowsMax);
    const folded = await addAttempts(tx, from, slice, seriesMax);
    const full = slice.taken === rowsMax;
    const to = full && slice.last ? slice.last : { txId: slice.floor, rowNo: 0n };
    return { to, rows: slice.taken, full, folded, horizon: slice };
  },
  run_events: async (tx, { txId }, { rowsMax }) => {
    const slice = await nextEvents(tx, txId, rowsMax);
    if (slice.taken > 0) await addEvents(tx, txId, slice.end);
    const full = slice.taken === rowsMax;
    return { to: { txId: slice.end, rowNo: 0n }, rows: slice.taken, full, folded: [], horizon: slice };
  },
};

/**
 * Adds what was recorded since the last time to the rollups of a source, `rowsMax` rows or about as many, in one transaction
 * with its watermark. Any number of processes may do so at once.
 * @returns null where another process does it now, or did it within `restMs`
 * @throws Error where the watermark came from another cluster, until it was migrated
 */
export function rollUp(
  pool: Pool,
  source: RollupSource,
  options: StepOptions,
): Promise<Pick<Step, 'rows' | 'full' | 'folded'> | null> {
  return inTransaction(pool, async (tx) => {
    // What a crash loses of it is lost as a whole, watermark included, and done again. A slice is few rows by its
    // transactions and many by its ids, which are only there to leave days out: the two indexes must not be combined.
    await tx.query('SET LOCAL synchronous_commit = off; SET LOCAL enable_bitmapscan = off');
    const from = await takeWatermark(tx, source, options.restMs);
    if (from === null) return null;
    if (!from.isOurs) throw new Error(otherCluster);
    const step = await steps[source](tx, from, options);
    await moveWatermark(tx, source, step.to, step.horizon);
    return step;
  });
}

const otherCluster =
  'The database was restored from a dump, whose numbers of transactions mean nothing here. Stop all processes and run `portcullis migrate`: what is written before that is never in a summary.';

const keptDays = [
  ['minute', rollupMinutesKeptDays],
  ['hour', rollupHoursKeptDays],
] as const;

/** Who is told of what this process did. */
export interface RollupWatch {
  onRows(source: RollupSource, rows: number): void;
  onFolded(folded: Folded): void;
}

/** Keeps the rollups of all projects up to date, beside other processes that do. */
export class Rollups {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #watch: RollupWatch;
  #lag: { readAt: number; seconds: number };
  #purgeAt = -Infinity;
  /** What is left of a purge. */
  #purging: AsyncGenerator<void> | null = null;
  /** Of which there was more than a step takes. */
  readonly #behind = new Set<RollupSource>();
  #stopped = false;

  constructor(pool: Pool, clock: Clock, watch: RollupWatch) {
    this.#pool = pool;
    this.#clock = clock;
    this.#watch = watch;
    this.#lag = { readAt: clock.monotonic(), seconds: 0 };
  }

  /** How far behind the rollups are, whoever keeps them, by what was last seen. */
  get lagS(): number {
    return this.#lag.seconds + (this.#clock.monotonic() - this.#lag.readAt) / 1000;
  }

  /**
   * Adds all that is there, a slice of each source in turn; at first, and then every hour, it deletes what is too old, a batch
   * in turn with them. Where there is much, it rests as long as it works.
   */
  async catchUp(): Promise<void> {
    while (!this.#stopped) {
      const beganAt = this.#clock.monotonic();
      await this.#purgeInTurn();
      for (const source of rollupSources) await this.#step(source);
      const seconds = await rollupLagS(this.#pool);
      this.#lag = { readAt: this.#clock.monotonic(), seconds };
      if (this.#behind.size === 0 && this.#purging === null) return;
      await sleep(this.#clock.monotonic() - beganAt);
    }
  }

  /** Deletes minutes and hours that are too old to be kept. */
  async purge(): Promise<void> {
    const purging = this.#purge();
    while (!(await purging.next()).done);
  }

  /** Lets what is under way end, and begins nothing. */
  stop(): void {
    this.#stopped = true;
  }

  async #step(source: RollupSource): Promise<void> {
    const step = await rollUp(this.#pool, source, {
      rowsMax: rollupRowsPerSliceMax,
      seriesMax: rollupSeriesPerProjectMax,
      restMs: this.#behind.has(source) ? 0 : rollupRestMs,
    });
    this.#behind.delete(source);
    if (step === null) return;
    if (step.full) this.#behind.add(source);
    if (step.rows > 0) this.#watch.onRows(source, step.rows);
    for (const folded of step.folded) this.#watch.onFolded(folded);
  }

  /** A purge that fails is over: what it left is for the next. */
  async #purgeInTurn(): Promise<void> {
    if (this.#clock.monotonic() >= this.#purgeAt) {
      this.#purgeAt = this.#clock.monotonic() + rollupPurgeEveryMs;
      this.#purging = this.#purge();
    }
    if ((await this.#purging?.next())?.done) this.#purging = null;
  }

  /** Says first what is too old, so that it is not written any more, then deletes it, a batch at a time. */
  async *#purge(): AsyncGenerator<void> {
    const kept = [];
    for (const [resolution, days] of keptDays) {
      kept.push({ resolution, since: await keepSince(this.#pool, resolution, days) });
    }
    for (const { resolution, since } of kept) {
      for (const table of rollupTables(resolution)) {
        let place: PurgePlace | null = { projectId: '', bucket: null };
        while (place !== null && !this.#stopped) {
          yield;
          place = await deleteBefore(this.#pool, table, since, place, rollupPurgeRowsMax);
        }
      }
    }
  }
}
