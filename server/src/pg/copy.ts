import { randomInt } from 'node:crypto';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Client, type ClientConfig, DatabaseError, Pool, escapeIdentifier } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { copyProgressMs, instanceDeadMs, migrationConnectMs, migrationLockMs } from '../base/limits.ts';
import { type CopiedTable, digestOf, readTables, seededTables, selectList, type TableDigest } from './copy-tables.ts';
import { inTransaction, type Queryable, type Tx } from './tx.ts';

const undefinedTable = '42P01';

/** How far the copy of a table is; `rows` are known at its end alone. */
export interface CopyProgress {
  readonly table: string;
  readonly rows: number | null;
  readonly bytes: number;
  readonly ms: number;
}

/**
 * Copies all that one database of the gate holds into another, which was migrated and is empty, of whichever layout: from one
 * snapshot, checked table by table, committed at once. While it runs no gate starts on either.
 * @throws Error with a sentence for the operator: a gate runs on the source, it is the target, versions differ, the target has
 * data, or what arrived is not what was sent; nothing is in the target then
 */
export async function copyDatabase(
  sourceUrl: string,
  targetUrl: string,
  onProgress: (progress: CopyProgress) => void,
): Promise<void> {
  const from = new Client(connectionTo(sourceUrl));
  from.on('error', () => undefined);
  const target = new Pool({ ...connectionTo(targetUrl), max: 1 });
  target.on('error', () => undefined);
  target.on('connect', (client) => client.on('error', () => undefined));
  try {
    await from.connect();
    for (const side of [from, target]) await side.query(ownSettings);
    const mark = randomInt(2 ** 47);
    await beginSnapshot(from, mark);
    await inTransaction(target, async (to) => {
      await requireOther(to, mark);
      await to.query('LOCK TABLE projects, instances IN SHARE ROW EXCLUSIVE MODE');
      await requireSameSchema(from, to);
      const tables = await readTables(to);
      await requireEmpty(to, tables);
      await makeDays(from, to);
      for (const table of tables) onProgress(await copyTable(from, to, table, onProgress));
      for (const table of tables) await verify(from, to, table);
      // Nobody has seen these tables: their first plans would be those of empty ones.
      await to.query('ANALYZE');
      await requireNoGate(from);
    });
  } finally {
    // The source was only read: its transaction may end as it likes, in the middle of a COPY that nobody reads any more too.
    await Promise.all([from.end(), target.end()]);
  }
}

function connectionTo(connectionString: string): ClientConfig {
  return {
    connectionString,
    connectionTimeoutMillis: migrationConnectMs,
    lock_timeout: migrationLockMs,
    application_name: copyName,
    keepAlive: true,
  };
}

const copyName = 'portcullis migrate';

// Tables have the size that they have, whatever the bounds of the role or the database are; and texts of values, which are
// compared, depend on how values are written.
const ownSettings = `
  SELECT set_config(name, to_be, false) FROM pg_settings JOIN (VALUES
    ('statement_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
    ('TimeZone', 'UTC'), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'),
    ('extra_float_digits', '1')) AS own (name, to_be) USING (name)`;

/** Keeps gates from starting on the source, then takes the one snapshot that everything is read from. */
async function beginSnapshot(from: Queryable, mark: number): Promise<void> {
  await from.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  // Before the first read, with which the snapshot is taken: a gate that came in between would not be seen.
  await from.query('LOCK TABLE public.instances IN SHARE MODE').catch((error: unknown) => {
    if (!(error instanceof DatabaseError) || error.code !== undefinedTable) throw error;
    throw new Error('The database to copy from holds no gate: nothing was migrated there.', { cause: error });
  });
  await from.query('SELECT pg_advisory_xact_lock($1)', [mark]);
  await requireNoGate(from);
}

/** A gate that fell silent has its connections, or makes them anew when it wakes up. */
async function requireNoGate(from: Queryable): Promise<void> {
  // What `pg_stat_activity` said once it says until the end of the transaction.
  await from.query('SELECT pg_stat_clear_snapshot()');
  const { rows } = await from.query<{ gate: string }>(
    `SELECT id AS gate FROM instances
     WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - $1 * interval '1 millisecond'
     UNION ALL
     SELECT format('process %s of the database: %s', pid, application_name) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'portcullis%' AND application_name <> $2
     LIMIT 10`,
    [instanceDeadMs, copyName],
  );
  if (rows.length > 0) {
    throw new Error(
      `A gate runs on the database to copy from (${rows.map(({ gate }) => gate).join(', ')}): stop all of them, then copy.`,
    );
  }
}

/** Advisory locks are a database's own: that of the source is not taken in another one. */
async function requireOther(to: Tx, mark: number): Promise<void> {
  const { rows } = await to.query<{ other: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS other', [mark]);
  if (rows[0]?.other !== true)
    throw new Error('The database to copy from is the one to copy into: make a new one, and migrate that.');
}

async function requireSameSchema(from: Queryable, to: Queryable): Promise<void> {
  const versionOf = async (db: Queryable) => {
    const { rows } = await db.query<{ version: number }>('SELECT max(version) AS version FROM schema_migrations');
    return rows[0]?.version;
  };
  const [source, target] = [await versionOf(from), await versionOf(to)];
  if (source !== target) {
    throw new Error(
      `The database to copy from has schema ${source}, this one ${target}: migrate the older one with this release first.`,
    );
  }
}

async function requireEmpty(to: Tx, tables: readonly CopiedTable[]): Promise<void> {
  for (const { name } of tables) {
    if (seededTables.includes(name)) {
      await to.query(`DELETE FROM ${escapeIdentifier(name)}`);
      continue;
    }
    const { rows } = await to.query(`SELECT FROM ${escapeIdentifier(name)} LIMIT 1`);
    if (rows.length > 0)
      throw new Error(`The database to copy into has data (in ${name}): make a new one, and migrate that.`);
  }
}

/** Makes the days that the source has, where days are made: rows then lie where they belong at once. */
async function makeDays(from: Queryable, to: Tx): Promise<void> {
  for (const table of ['attempts', 'run_events', 'benchmarks']) {
    const { rows } = await from.query<{ day: string }>('SELECT day::text FROM telemetry_days($1)', [table]);
    await to.query(
      `SELECT telemetry_add_day($1, day) FROM unnest($2::date[]) AS day
       WHERE to_regclass($1 || '_default') IS NOT NULL AND to_regclass(telemetry_day_table($1, day)) IS NULL`,
      [table, rows.map(({ day }) => day)],
    );
  }
}

async function copyTable(
  from: Queryable,
  to: Queryable,
  table: CopiedTable,
  onProgress: (progress: CopyProgress) => void,
): Promise<CopyProgress> {
  const begun = performance.now();
  let [bytes, told] = [0, begun];
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      const now = performance.now();
      if (now - told >= copyProgressMs) {
        told = now;
        onProgress({ table: table.name, rows: null, bytes, ms: now - begun });
      }
      done(null, chunk);
    },
  });
  const name = escapeIdentifier(table.name);
  const columns = table.columns.map(escapeIdentifier).join(', ');
  const out = from.query(copyTo(`COPY (SELECT ${selectList(table)} FROM ${name}) TO STDOUT (FORMAT binary)`));
  const into = to.query(copyFrom(`COPY ${name} (${columns}) FROM STDIN (FORMAT binary)`));
  await pipeline(out, counting, into).catch((error: Error) => {
    throw new Error(`The copy of ${table.name} broke off (${error.message}). Nothing was kept.`, { cause: error });
  });
  for (const column of table.numbered)
    await to.query(
      `SELECT setval(pg_get_serial_sequence($1, $2), coalesce(max(${escapeIdentifier(column)}), 0) + 1, false) FROM ${name}`,
      [`public.${name}`, column],
    );
  return { table: table.name, rows: into.rowCount, bytes, ms: performance.now() - begun };
}

async function verify(from: Queryable, to: Queryable, table: CopiedTable): Promise<void> {
  const read = digestOf(table);
  const sides = await Promise.all([from, to].map((side) => side.query<TableDigest>(read)));
  const [sent, arrived] = sides.map(({ rows }) => rows[0]);
  if (sent !== undefined && sent.rows === arrived?.rows && sent.digest === arrived.digest) return;
  throw new Error(
    `What arrived in ${table.name} is not what was sent (${arrived?.rows} rows; ${sent?.rows} were sent). Nothing was kept.`,
  );
}
