import { type DayTable, daysByRetention } from '../budget/retention.ts';
import type { DaySize } from '../budget/retention-store.ts';
import type { Queryable } from '../pg/tx.ts';
import { addDays, countDay, type DatedTable, dropDay, type HeldDay, listDays } from './days-store.ts';

/** How many days are kept of each table after their day ended; 0 is all. */
export type KeptDays = Readonly<Record<DatedTable, number>>;

/** What a table holds by days, and what a retention leaves of it; oldest first. */
export interface TelemetryRetention {
  readonly table: DatedTable;
  readonly keptDays: number;
  /** What ended before the first day that is kept. */
  readonly over: readonly (HeldDay & DaySize)[];
  /** Days made ahead included. */
  readonly kept: readonly DaySize[];
}

/** The days of events and benchmarks, which are made and dropped as the ledger's are (decision 0016). */
export const telemetryDays: Readonly<Record<DatedTable, DayTable>> = {
  run_events: dayTable('run_events'),
  benchmarks: dayTable('benchmarks'),
};

const datedTables: readonly DatedTable[] = ['run_events', 'benchmarks'];

function dayTable(table: DatedTable): DayTable {
  return {
    add: (db, ahead) => addDays(db, table, ahead),
    list: (db) => listDays(db, table),
    drop: async (tx, day) => {
      const dropped = await dropDay(tx, table, day);
      return dropped && { table, rows: dropped.rows.toString() };
    },
    droppedAction: 'telemetry.day_dropped',
  };
}

/** What is there, and what would go if so many days were kept; nothing is changed. */
export async function previewTelemetryRetention(db: Queryable, kept: KeptDays): Promise<TelemetryRetention[]> {
  const previews: TelemetryRetention[] = [];
  for (const table of datedTables) {
    const days = await daysByRetention(db, telemetryDays[table], kept[table]);
    const over: (HeldDay & DaySize)[] = [];
    // A statement each: how long one may take is meant for one day.
    for (const size of days.over) over.push({ ...size, ...(await countDay(db, table, size.day)) });
    previews.push({ table, keptDays: kept[table], over, kept: days.kept });
  }
  return previews;
}
