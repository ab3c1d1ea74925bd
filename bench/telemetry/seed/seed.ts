import { availableParallelism } from 'node:os';
import type { Client } from 'pg';
import { createClient } from '../../../server/src/pg/pool.ts';
import { round } from '../../harness/statistics.ts';
import { seedCast, spread } from './cast.ts';
import {
  insertAttempts,
  insertCorrections,
  insertEvaluations,
  insertEvents,
  insertMarks,
  insertRatings,
  insertRuns,
  sessionSql,
  sliceRuns,
} from './slice-sql.ts';

/** What was seeded. The same for the same seed, number and last millisecond. */
export interface Seeded {
  readonly seed: number;
  readonly runs: number;
  readonly attempts: number;
  readonly corrections: number;
  readonly events: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly seconds: number;
}

export interface SeedOptions {
  readonly attempts: number;
  readonly seed: number;
  readonly toMs: number;
  readonly progress: (text: string) => void;
}

const dayMs = 86_400_000;
/** Transactions of about 100,000 rows: what a busy hour writes in many small ones. */
const runsPerSlice = 10_000;
const tellEveryMs = 10_000;

/** Fills a database that was just migrated. */
export async function seed(ownerUrl: string, options: SeedOptions): Promise<Seeded> {
  const { toMs, progress } = options;
  const startedMs = performance.now();
  const fromMs = (Math.floor(toMs / dayMs) - spread.days + 1) * dayMs;
  const runs = Math.ceil(options.attempts / spread.attemptsPerRun);
  const owner = await connect(ownerUrl);
  await addDays(owner, fromMs, toMs);
  await seedCast(owner);
  const firstVersion = await controlVersion(owner);
  const slices = Array.from({ length: Math.ceil(runs / runsPerSlice) }, (_, slice) => slice * runsPerSlice).values();
  const counts = { attempts: 0, corrections: 0, events: 0 };
  let toldMs = startedMs;
  const work = async () => {
    const client = await connect(ownerUrl);
    await client.query(sessionSql(options.seed));
    for (const first of slices) {
      const last = Math.min(first + runsPerSlice, runs) - 1;
      const slice = await seedSlice(client, { first, last, runs, fromMs, toMs, firstVersion });
      counts.attempts += slice.attempts;
      counts.corrections += slice.corrections;
      counts.events += slice.events;
      if (performance.now() - toldMs < tellEveryMs) continue;
      toldMs = performance.now();
      progress(`seeded ${counts.attempts} attempts, ${round((counts.attempts * 1_000) / (toldMs - startedMs))} rows/s`);
    }
    await client.end();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  await owner.query('UPDATE control_version SET version = $1', [firstVersion + BigInt(runs)]);
  await owner.query('ANALYZE');
  await owner.end();
  return { seed: options.seed, runs, ...counts, fromMs, toMs, seconds: (performance.now() - startedMs) / 1_000 };
}

/** Does what the server does by itself in its time, so that it does not do it while it is measured. */
export async function vacuum(ownerUrl: string): Promise<void> {
  const owner = await connect(ownerUrl);
  await owner.query('VACUUM (ANALYZE)');
  await owner.query('CHECKPOINT');
  await owner.end();
}

async function connect(ownerUrl: string): Promise<Client> {
  const client = createClient({
    connectionString: ownerUrl,
    statementMs: 1_800_000,
    lockMs: 60_000,
    connectMs: 5_000,
    applicationName: 'bench seed',
  });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** The application makes days of the present alone; the past is the owner's to make. */
async function addDays(owner: Client, fromMs: number, toMs: number): Promise<void> {
  const days = "SELECT generate_series($1::date, $2::date, interval '1 day')::date AS day";
  const range = [dateOf(fromMs), dateOf(toMs)];
  await owner.query(
    `SELECT ledger_add_day(day) FROM (${days}) AS days WHERE to_regclass(ledger_day_table(day)) IS NULL`,
    range,
  );
  await owner.query(
    `SELECT telemetry_add_day('run_events', day) FROM (${days}) AS days
     WHERE to_regclass(telemetry_day_table('run_events', day)) IS NULL`,
    range,
  );
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

async function controlVersion(owner: Client): Promise<bigint> {
  const { rows } = await owner.query<{ version: bigint }>('SELECT version FROM control_version');
  return (rows[0]?.version ?? 0n) + 1n;
}

interface Slice {
  readonly first: number;
  readonly last: number;
  readonly runs: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly firstVersion: bigint;
}

async function seedSlice(
  client: Client,
  { first, last, runs, fromMs, toMs, firstVersion }: Slice,
): Promise<Pick<Seeded, 'attempts' | 'corrections' | 'events'>> {
  await client.query('BEGIN');
  await client.query(sliceRuns, [first, last, runs, fromMs, toMs]);
  await client.query(insertRuns, [firstVersion, toMs]);
  const attempts = await client.query<{ written: bigint }>(insertAttempts, [toMs]);
  const events = await client.query(insertEvents, [toMs]);
  await client.query(insertMarks, [toMs]);
  await client.query(insertRatings, [toMs]);
  await client.query(insertEvaluations, [toMs]);
  await client.query('COMMIT');
  const corrections = await client.query(insertCorrections);
  await client.query('TRUNCATE crashed');
  return {
    attempts: Number(attempts.rows[0]?.written),
    corrections: corrections.rowCount ?? 0,
    events: events.rowCount ?? 0,
  };
}
