import { newId } from '../../server/src/base/ids.ts';
import type { Queryable } from '../../server/src/pg/tx.ts';
import { type KeptDays, telemetryDays } from '../../server/src/telemetry/days.ts';
import type { DatedTable } from '../../server/src/telemetry/days-store.ts';
import { type TestDatabase, queryAsOwner } from './database.ts';
import { keepDays } from './ledger-days.ts';
import { agentId, projectId, runId } from './ledger.ts';
import type { Pool } from 'pg';

const prefixes = { run_events: 'evt', benchmarks: 'bmk' } as const;

/** Writes one row with an id of that time, under the application's role. @returns its id */
export async function writeRow(db: Queryable, table: DatedTable, ms: number): Promise<string> {
  const id = newId(prefixes[table], ms);
  if (table === 'run_events')
    await db.query(
      `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
       VALUES ($1, $2, $3, $4, 'step', 'info', 'done', $5)`,
      [id, projectId, agentId, runId, new Date(ms)],
    );
  else
    await db.query(
      `INSERT INTO benchmarks (id, project_id, workflow, provider_type, provider, model, tokens_input, tokens_output,
         cost_nanousd, latency_ms, notes, recorded_by)
       VALUES ($1, $2, 'flow', 'api', 'sim', 'sim-1', 1, 1, 7, 1, '', 'test')`,
      [id, projectId],
    );
  return id;
}

/** Makes a day of the past, which no job would make; a hypertable needs none. */
export async function makeTelemetryDay(db: TestDatabase, table: DatedTable, day: string): Promise<void> {
  const [partitioned] = await queryAsOwner(db, `SELECT to_regclass('run_events_default') IS NOT NULL AS found`);
  if (partitioned?.['found'] === true) await queryAsOwner(db, 'SELECT telemetry_add_day($1, $2::date)', [table, day]);
}

/** Makes and drops the days of events and benchmarks, as the job of a gate does. */
export async function keepTelemetryDays(pool: Pool, kept: KeptDays): Promise<void> {
  await keepDays(pool, telemetryDays.run_events, kept.run_events);
  await keepDays(pool, telemetryDays.benchmarks, kept.benchmarks);
}

/** Lets all rows have been written when their ids say. */
export async function writtenThen(db: TestDatabase, table: DatedTable): Promise<void> {
  await queryAsOwner(
    db,
    `UPDATE ${table} SET recorded_at = (telemetry_day_of(id) + 1)::timestamp AT TIME ZONE 'UTC' WHERE telemetry_day_of(id) < current_date`,
  );
}
