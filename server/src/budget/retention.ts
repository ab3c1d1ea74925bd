import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { AuditAction } from '../audit/actions.ts';
import { appendAudit } from '../audit/append.ts';
import {
  holdAbandonedKeptMs,
  holdPostedKeptMs,
  ledgerDaysAhead,
  ledgerDaysDroppedMax,
  ledgerLockPauseMs,
  ledgerLockTriesMax,
  purgeBatchMax,
} from '../base/limits.ts';
import { isLockTimeout } from '../pg/errors.ts';
import { inRequest } from '../pg/request-scope.ts';
import { inTransaction, type Queryable, type Tx } from '../pg/tx.ts';
import {
  addLedgerDays,
  type DaySize,
  deleteEndedHolds,
  dropLedgerDay,
  firstKeptDay,
  type HeldLedgerDay,
  listLedgerDays,
  sumLedgerDay,
} from './retention-store.ts';

/** A table that lies in days, and what the schema does for it: the ledger, and what telemetry/days.ts keeps. */
export interface DayTable {
  /** Makes the days from yesterday to so many ahead, and those that rows had to do without. @returns how many */
  add(db: Queryable, ahead: number): Promise<number>;
  /** The days that are there, oldest first, those made ahead included. */
  list(db: Queryable): Promise<DaySize[]>;
  /** Drops a day. @returns what the audit log says of it; null when it is not there, stays, or others drop it now */
  drop(tx: Tx, day: string): Promise<Readonly<Record<string, string>> | null>;
  readonly droppedAction: AuditAction;
}

/** What the ledger holds by days, and what a retention leaves of it. */
export interface Retention {
  /** Oldest first: what ended before the first day that is kept. */
  readonly over: readonly (HeldLedgerDay & DaySize)[];
  /** Oldest first, days made ahead included. */
  readonly kept: readonly DaySize[];
}

/** The days of attempts. */
export const ledgerDays: DayTable = {
  add: addLedgerDays,
  list: listLedgerDays,
  drop: async (tx, day) => {
    const dropped = await dropLedgerDay(tx, day);
    return dropped && { rows: dropped.rows.toString(), cost_nanousd: dropped.costUsd.toString() };
  },
  droppedAction: 'ledger.day_dropped',
};

/**
 * Makes the days of a table ahead of time, and those of rows that came without one. Any number of processes may do so at once.
 * @param pool its bound on statements is how long inserts may wait for rows that move
 * @throws Error when it could not be done now; what was done stays done, and the next run goes on
 */
export async function makeDays(pool: Pool, table: DayTable, signal: AbortSignal): Promise<void> {
  let waits = 0;
  // What one call leaves undone, the next one finds.
  for (let made = 1; made > 0 && !signal.aborted;) {
    try {
      made = await table.add(pool, ledgerDaysAhead);
    } catch (error) {
      if (!isLockTimeout(error) || ++waits === ledgerLockTriesMax) throw error;
      await pause(signal);
    }
  }
}

/**
 * Drops the days of a table that ended more than `keptDays` ago (0: none), a month of them at most, each with its entry in the
 * audit log. A day that cannot be dropped holds none of the others back. Any number of processes may do so at once.
 * @param patient a day is counted before it goes, which takes as long as it takes: its bound on statements is for that
 * @throws AggregateError of what could not be dropped now
 */
export async function dropDays(
  { pool, patient }: { readonly pool: Pool; readonly patient: Pool },
  table: DayTable,
  keptDays: number,
  signal: AbortSignal,
): Promise<void> {
  const { over } = await daysByRetention(pool, table, keptDays);
  const failures: unknown[] = [];
  // As one request: what runs in the database is cancelled when the process ends.
  const dropping = inRequest(patient, signal, () => dropEach(patient, table, over, signal, failures));
  await dropping.catch((error: unknown) => failures.push(error));
  if (failures.length > 0 && !signal.aborted)
    throw new AggregateError(failures, `Days could not be dropped: ${failures.map(String).join('; ')}`);
}

async function dropEach(
  pool: Pool,
  table: DayTable,
  over: readonly DaySize[],
  signal: AbortSignal,
  failures: unknown[],
): Promise<void> {
  const left = over.map(({ day }) => day);
  let [dropped, waits] = [0, 0];
  for (let day; dropped < ledgerDaysDroppedMax && (day = left.shift()) !== undefined;) {
    try {
      if (await dropDay(pool, table, day)) [dropped, waits] = [dropped + 1, 0];
    } catch (error) {
      signal.throwIfAborted();
      if (!isLockTimeout(error)) {
        failures.push(error);
        continue;
      }
      if (++waits === ledgerLockTriesMax) throw error;
      left.push(day);
      await pause(signal);
    }
  }
}

/** Deletes holds that ended and are no more of use. */
export async function purgeHolds(pool: Pool): Promise<void> {
  const kept = { postedMs: holdPostedKeptMs, abandonedMs: holdAbandonedKeptMs };
  while ((await deleteEndedHolds(pool, kept, purgeBatchMax)) === purgeBatchMax);
}

/** What is there, and what would go if `keptDays` were kept; nothing is changed. */
export async function previewRetention(db: Queryable, keptDays: number): Promise<Retention> {
  const { over, kept } = await daysByRetention(db, ledgerDays, keptDays);
  const held: (HeldLedgerDay & DaySize)[] = [];
  // A statement each: how long one may take is meant for one day.
  for (const size of over) held.push({ ...size, ...(await sumLedgerDay(db, size.day)) });
  return { over: held, kept };
}

/** The days that are over when `keptDays` are kept (0: none), and those that are not; oldest first. */
export async function daysByRetention(db: Queryable, table: Pick<DayTable, 'list'>, keptDays: number) {
  const days = await table.list(db);
  const first = keptDays === 0 ? '' : await firstKeptDay(db, keptDays);
  return { over: days.filter(({ day }) => day < first), kept: days.filter(({ day }) => day >= first) };
}

/** @returns whether it is gone */
function dropDay(pool: Pool, table: DayTable, day: string): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    // Everybody waits for this transaction: a process that is stopped in the middle of it must not stop them all.
    await tx.query(`SET LOCAL idle_in_transaction_session_timeout = '1s'`);
    const payload = await table.drop(tx, day);
    if (payload === null) return false;
    await appendAudit(tx, {
      actor: { kind: 'system', id: 'server' },
      action: table.droppedAction,
      target: day,
      projectId: null,
      requestId: null,
      payload,
    });
    return true;
  });
}

/** Lets others have the lock, for which we wait shortly each time. */
async function pause(signal: AbortSignal): Promise<void> {
  await sleep(ledgerLockPauseMs, undefined, { signal });
}
