import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
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
import { isUnavailable } from '../pg/errors.ts';
import { inTransaction, type Queryable } from '../pg/tx.ts';
import {
  addLedgerDays,
  deleteEndedHolds,
  dropLedgerDay,
  firstKeptDay,
  type LedgerDay,
  type LedgerDaySize,
  listLedgerDays,
  sumLedgerDays,
} from './retention-store.ts';

/** What the ledger holds by days, and what a retention leaves of it. */
export interface Retention {
  /** Oldest first: what ended before the first day that is kept. */
  readonly over: readonly (LedgerDay & LedgerDaySize)[];
  /** Oldest first, days made ahead included. */
  readonly kept: readonly LedgerDaySize[];
}

/**
 * Makes the ledger's days ahead of time, and drops those that ended more than `keptDays` ago (0: none), a month of them at a
 * time, each with its entry in the audit log. Any number of processes may do so at once.
 * @throws Error when it could not be done now; what was done stays done, and the next run goes on
 */
export async function keepLedgerDays(pool: Pool, keptDays: number): Promise<void> {
  // What one call leaves undone, the next one finds.
  while ((await patiently(() => addLedgerDays(pool, ledgerDaysAhead))) > 0);
  const { over } = await byRetention(pool, keptDays);
  for (const { day } of over.slice(0, ledgerDaysDroppedMax)) await patiently(() => dropDay(pool, day));
}

/** Deletes holds that ended and are no more of use. */
export async function purgeHolds(pool: Pool): Promise<void> {
  const kept = { postedMs: holdPostedKeptMs, abandonedMs: holdAbandonedKeptMs };
  while ((await deleteEndedHolds(pool, kept, purgeBatchMax)) === purgeBatchMax);
}

/** What is there, and what would go if `keptDays` were kept; nothing is changed. */
export async function previewRetention(db: Queryable, keptDays: number): Promise<Retention> {
  const { over, kept } = await byRetention(db, keptDays);
  const sums = await sumLedgerDays(
    db,
    over.map(({ day }) => day),
  );
  const bytes = new Map(over.map((size) => [size.day, size.bytes]));
  return { over: sums.map((sum) => ({ ...sum, bytes: bytes.get(sum.day) ?? 0n })), kept };
}

async function byRetention(db: Queryable, keptDays: number) {
  const days = await listLedgerDays(db);
  const first = keptDays === 0 ? '' : await firstKeptDay(db, keptDays);
  return { over: days.filter(({ day }) => day < first), kept: days.filter(({ day }) => day >= first) };
}

async function dropDay(pool: Pool, day: string): Promise<void> {
  await inTransaction(pool, async (tx) => {
    // Everybody waits for this transaction: a process that is stopped in the middle of it must not stop them all.
    await tx.query(`SET LOCAL idle_in_transaction_session_timeout = '1s'`);
    const dropped = await dropLedgerDay(tx, day);
    if (dropped === null) return;
    await appendAudit(tx, {
      actor: { kind: 'system', id: 'server' },
      action: 'ledger.day_dropped',
      target: day,
      projectId: null,
      requestId: null,
      payload: { rows: dropped.rows.toString(), cost_nanousd: dropped.costUsd.toString() },
    });
  });
}

/** Tries again what gave up waiting for a lock: it waits shortly each time, since others wait behind it. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === ledgerLockTriesMax || !isUnavailable(error)) throw error;
      await sleep(ledgerLockPauseMs);
    }
  }
}
