/** What keeps the days of attempts, events and benchmarks. Part of the composition root: see main.ts. */
import { ledgerDayCountMs, ledgerDaysAhead, ledgerDaysEveryMs, ledgerDaysStartMs } from '../base/limits.ts';
import { dropDays, ledgerDays, makeDays } from '../budget/retention.ts';
import type { Config } from '../config/config.ts';
import { inTransaction } from '../pg/tx.ts';
import { type KeptDays, telemetryDays } from '../telemetry/days.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import { openPool, type Store } from './database.ts';

/** How many days this gate keeps of events and benchmarks. */
export function telemetryDaysKept({ options }: Config): KeptDays {
  return {
    run_events: options.TELEMETRY_EVENTS_RETENTION_DAYS,
    benchmarks: options.TELEMETRY_BENCHMARKS_RETENTION_DAYS,
  };
}

/**
 * Makes days ahead of time and drops those that are over, now and every hour. The gate does not wait for it: rows whose day is
 * not there are kept all the same, and move when it is made.
 */
export async function startDays(base: Base, { pool, connection }: Store): Promise<void> {
  const { config, log, stops } = base;
  const telemetryKept = telemetryDaysKept(config);
  const tables = [
    { table: ledgerDays, keptDays: config.options.LEDGER_RETENTION_DAYS },
    { table: telemetryDays.run_events, keptDays: telemetryKept.run_events },
    { table: telemetryDays.benchmarks, keptDays: telemetryKept.benchmarks },
  ];
  // The days of the next rows, where that takes a moment. What comes of the rest, the job tells.
  for (const { table } of tables)
    await inTransaction(pool, async (tx) => {
      await tx.query(`SET LOCAL statement_timeout = ${ledgerDaysStartMs}`);
      await table.add(tx, ledgerDaysAhead);
    }).catch(() => undefined);
  // To count a day may take minutes: nobody else waits for this connection, which is there while days are dropped.
  const counting = { ...connection, applicationName: 'portcullis days', statementMs: ledgerDayCountMs };
  const patient = openPool(base, 'days pool', { ...counting, max: 1, idleMs: 1_000 });
  const ending = new AbortController();
  const keepDays = async () => {
    const failures: unknown[] = [];
    for (const { table, keptDays } of tables) {
      const failed = (error: unknown) => failures.push(error);
      await makeDays(pool, table, ending.signal).catch(failed);
      await dropDays({ pool, patient }, table, keptDays, ending.signal).catch(failed);
    }
    if (failures.length > 0 && !ending.signal.aborted)
      throw new AggregateError(failures, 'The days of attempts, events or benchmarks could not be kept in order.');
  };
  const stop = startJobs([{ name: 'days', everyMs: ledgerDaysEveryMs, atOnce: true, run: keepDays }], log);
  stops.add('days', () => {
    ending.abort();
    return stop();
  });
}
