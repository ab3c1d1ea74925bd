import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { attemptAt, dayOf, makeDay, noon, writeRows } from './support/ledger-days.ts';
import { projectId, seedProject } from './support/ledger.ts';
import { makeTelemetryDay, writeRow, writtenThen } from './support/telemetry-days.ts';

/** The hardening list, P1-03: how long attempts, events and benchmarks are kept. test/timescale.test.ts has their compression. */

const keptDays = { attempts: 30, run_events: 20, benchmarks: 60 };
const tables = Object.keys(keptDays) as (keyof typeof keptDays)[];
const soon = { timeout: 60_000, interval: 100 };

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate({
    env: {
      DATABASE_STATEMENT_MS: '3000',
      LEDGER_RETENTION_DAYS: String(keptDays.attempts),
      TELEMETRY_EVENTS_RETENTION_DAYS: String(keptDays.run_events),
      TELEMETRY_BENCHMARKS_RETENTION_DAYS: String(keptDays.benchmarks),
    },
  });
});
afterAll(() => gate?.stop());

function retention(...args: string[]) {
  return runCommand(['retention', ...args], {
    environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey },
  });
}

const rowsLeft = async () => {
  const counts = tables.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`).join(', ');
  const [row] = await queryAsOwner<Record<keyof typeof keptDays, number>>(gate.database, `SELECT ${counts}`);
  return row;
};

/** One row of each table on each of these days, written on that day. */
async function writePast(daysAgo: readonly number[]): Promise<void> {
  const { database } = gate;
  for (const ago of daysAgo) {
    const ms = noon(-ago);
    await makeDay(database, dayOf(ms));
    await writeRows(database.pool, [attemptAt(ms, { costUsd: 1_000_000_000n })]);
    for (const table of ['run_events', 'benchmarks'] as const) {
      await makeTelemetryDay(database, table, dayOf(ms));
      await writeRow(database.pool, table, ms);
    }
  }
  await queryAsOwner(database, 'UPDATE attempts SET recorded_at = started_at');
  for (const table of ['run_events', 'benchmarks'] as const) await writtenThen(database, table);
}

const summed = async () => {
  const [sums] = await queryAsOwner<{ cost: string; events: string }>(
    gate.database,
    `SELECT coalesce((SELECT sum(r.cost_nanousd) FROM attempt_rollups_1d r JOIN rollup_series s ON s.id = r.series_id
       WHERE s.project_id = $1), 0)::text AS cost,
       coalesce((SELECT sum(events) FROM event_rollups_1d WHERE project_id = $1), 0)::text AS events`,
    [projectId],
  );
  return sums;
};

it('P1-03: days of attempts, events and benchmarks that are over are told, then dropped with a trace and an audit entry; sums stay', async () => {
  const ages = [70, 61, 40, 25, 10];
  await seedProject(gate.database.pool);
  await writePast(ages);
  const sums = { cost: `${ages.length}000000000`, events: String(ages.length) };
  await expect.poll(summed, soon).toEqual(sums);

  const over = tables.map((table) => ages.filter((ago) => ago > keptDays[table]).map((ago) => dayOf(noon(-ago))));
  const told = await retention();
  expect(told.stdout).toMatch(/^OF +OVER +ROWS +BYTES +STAYS\n/);
  const lines = told.stdout.split('\n').slice(1, -1);
  expect(lines.map((line) => line.split(/ +/).slice(0, 3))).toEqual(
    tables.flatMap((table, nth) => over[nth]!.map((day) => [table, day, '1'])),
  );
  for (const table of tables)
    expect(told.stderr).toContain(`${table}: ${keptDays[table]} days are kept; the oldest kept`);
  const asked = JSON.parse((await retention('--keep', '7', '--json')).stdout) as { tables: { over: unknown[] }[] };
  expect(asked.tables.map((table) => table.over.length)).toEqual([5, 5, 5]);
  expect((await retention('--keep', '0')).stderr).toMatch(/No day is over\.\nattempts: all days are kept;/);
  expect((await retention('--keep', '3')).stderr).toContain('kept_days must be 0 (all) or from 7');
  const { secret } = await gate.agent('curious', { scopes: ['models:invoke', 'telemetry:read'] });
  await expect(gate.api('AnalyticsService/GetTelemetryRetention', {}, secret)).rejects.toThrow(/403/);
  expect(await rowsLeft()).toEqual({ attempts: 5, run_events: 5, benchmarks: 5 });

  // What stays although it is over is told as what stays.
  await queryAsOwner(gate.database, 'UPDATE benchmarks SET recorded_at = now()');
  const staying = await retention();
  expect(staying.stdout).toMatch(new RegExp(`benchmarks +${over[2]?.[0]} +1 +\\d+ +written lately\n`));
  expect(staying.stderr).toMatch(/benchmarks: 60 days are kept; .* [1-9]\d* bytes stay, 0 go\.\n/);
  await writtenThen(gate.database, 'benchmarks');

  await gate.end();
  // Somebody reads all of it, such as a backup: the gate starts all the same, and goes on with it later.
  const reader = new Client({ connectionString: gate.database.ownerUrl });
  await reader.connect();
  await reader.query('BEGIN; SELECT FROM attempts, run_events, benchmarks');
  await gate.start();
  expect(await rowsLeft()).toEqual({ attempts: 5, run_events: 5, benchmarks: 5 });
  await reader.end();
  await expect.poll(rowsLeft, soon).toEqual({ attempts: 2, run_events: 1, benchmarks: 3 });
  expect(await summed()).toEqual(sums);
  const traces = await queryAsOwner(
    gate.database,
    `SELECT 'attempts' AS table, day::text, attempt_rows::int AS rows FROM ledger_dropped_days
     UNION ALL SELECT table_name, day::text, row_count::int FROM telemetry_dropped_days`,
  );
  const entries = await queryAsOwner(
    gate.database,
    `SELECT coalesce(payload ->> 'table', 'attempts') AS table, target AS day, (payload ->> 'rows')::int AS rows
     FROM audit_entries WHERE action LIKE '%.day_dropped'`,
  );
  const expected = tables.flatMap((table, nth) => over[nth]!.map((day) => ({ table, day, rows: 1 })));
  expect(traces).toHaveLength(expected.length);
  expect(traces).toEqual(expect.arrayContaining(expected));
  expect(entries).toHaveLength(expected.length);
  expect(entries).toEqual(expect.arrayContaining(expected));
  expect((await retention()).stderr).toContain('No day is over.');
});

it('P1-03: a day that takes longer to count than a statement may take goes all the same, and no start waits for it', async () => {
  await gate.end();
  const left = (await rowsLeft())?.benchmarks ?? 0;
  await makeTelemetryDay(gate.database, 'benchmarks', dayOf(noon(-65)));
  await writeRow(gate.database.pool, 'benchmarks', noon(-65));
  await writtenThen(gate.database, 'benchmarks');
  await queryAsOwner(
    gate.database,
    `ALTER FUNCTION telemetry_measure(text, regclass) RENAME TO measure;
     CREATE FUNCTION telemetry_measure(of text, day_table regclass, OUT row_count bigint, OUT written timestamptz, OUT last_tx bigint)
     LANGUAGE sql AS 'SELECT pg_sleep(5); SELECT * FROM public.measure(of, day_table)'`,
  );
  await gate.start();
  expect((await rowsLeft())?.benchmarks).toBe(left + 1);
  await expect.poll(async () => (await rowsLeft())?.benchmarks, soon).toBe(left);
});

it.each(['TELEMETRY_EVENTS_RETENTION_DAYS', 'TELEMETRY_BENCHMARKS_RETENTION_DAYS'])(
  '%s of less than a week is refused, with a sentence',
  async (option) => {
    const refused = await runCommand(['config', 'check'], {
      environment: { [option]: '6', DATABASE_URL: gate.database.appUrl, SECRETS_KEY: 'x'.repeat(32) },
    });
    expect(refused.code).not.toBe(0);
    expect(refused.stderr + refused.stdout).toMatch(new RegExp(`${option}.*must be 0 \\(keep all\\) or at least 7`));
  },
);
