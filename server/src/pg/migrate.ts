import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { migrationConnectMs, migrationLockMs, migrationStatementMs, migrationWaitMs } from '../base/limits.ts';
import { isUnavailable } from './errors.ts';
import { grantAppRole } from './grants.ts';
import { decideLayout, type Layout } from './layout.ts';
import { createPool } from './pool.ts';
import { inTransaction, type Queryable, type Tx } from './tx.ts';

/** One file of `server/sql`: `000001_init.sql` is version 1, named `init`. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  /** With the file of the same name in `timescale/` after it, where that is the layout and there is one. */
  readonly sql: string;
  /** SHA-256 in hex, line endings not counted. */
  readonly checksum: string;
}

export interface MigrateOptions {
  /** The application's role; it is given exactly the privileges of pg/grants.ts. */
  readonly appRole?: string;
  /** The folder of the SQL files. */
  readonly folder?: URL;
  /** Lays a new database out for TimescaleDB; later migrations find that written down. */
  readonly timescale?: boolean;
}

/** How the schema stands to this code. */
export interface SchemaState {
  readonly current: number;
  readonly expected: number;
  /** A newer schema counts: later versions only add, so that replicas of the last release serve on during a rollout. */
  readonly upToDate: boolean;
}

const sqlFolder = new URL('../../sql/', import.meta.url);
const oldestServerVersion = 150_000;

// Any constant that no other software on the same database uses for its own lock.
const advisoryLock = '7218430915720634';

/**
 * Reads the migrations in their order.
 * @throws Error when the files are not numbered 1, 2, 3, … without gaps
 */
export async function readMigrations(folder: URL = sqlFolder, layout: Layout = 'plain'): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const more = layout === 'plain' ? [] : await readdir(new URL('timescale/', folder));
  const migrations: Migration[] = [];
  for (const file of files) {
    const match = /^(\d{6})_([a-z0-9_]+)\.sql$/.exec(file);
    const version = Number(match?.[1]);
    if (version !== migrations.length + 1) {
      throw new Error(`server/sql/${file} must be named ${String(migrations.length + 1).padStart(6, '0')}_name.sql.`);
    }
    const texts = [await readSql(new URL(file, folder))];
    if (more.includes(file)) texts.push(await readSql(new URL(`timescale/${file}`, folder)));
    const sql = texts.join('\n');
    const checksum = createHash('sha256').update(sql).digest('hex');
    migrations.push({ version, name: match?.[2] ?? '', sql, checksum });
  }
  return migrations;
}

async function readSql(file: URL): Promise<string> {
  return (await readFile(file, 'utf8')).replaceAll('\r\n', '\n');
}

/**
 * Brings the schema to this code's version, each file in its own transaction, and grants. Safe when several run at once.
 * @returns the migrations that this call applied
 * @throws Error with a sentence for the operator: old server, changed file, newer database, missing role, locked tables
 */
export async function migrate(connectionString: string, options: MigrateOptions = {}): Promise<Migration[]> {
  const pool = createPool({
    connectionString,
    max: 1,
    idleMs: migrationConnectMs,
    lifetimeMs: migrationStatementMs,
    statementMs: migrationStatementMs,
    lockMs: migrationLockMs,
    connectMs: migrationConnectMs,
    applicationName: 'portcullis migrate',
    onError: () => undefined,
  });
  try {
    await requireServerVersion(pool);
    const layout = await inTransaction(pool, async (tx) => {
      await lockMigrations(tx);
      return decideLayout(tx, options.timescale === true, (await readApplied(tx)).length > 0);
    });
    const migrations = await readMigrations(options.folder, layout);
    const applied: Migration[] = [];
    for (const migration of migrations) {
      if (await inTransaction(pool, (tx) => applyNext(tx, migrations, migration))) applied.push(migration);
    }
    await inTransaction(pool, renumberTransactions);
    const { appRole } = options;
    if (appRole !== undefined) {
      await inTransaction(pool, async (tx) => {
        await lockMigrations(tx);
        await grantAppRole(tx, appRole);
      });
    }
    return applied;
  } finally {
    await pool.end();
  }
}

/** A dump that was restored brought numbers of transactions that mean nothing in this cluster (decision 0022). */
async function renumberTransactions(tx: Tx): Promise<void> {
  await lockMigrations(tx);
  const { rows } = await tx.query<{ known: boolean }>(`SELECT to_regprocedure('tx_renumber()') IS NOT NULL AS known`);
  if (rows[0]?.known) await tx.query('SELECT tx_renumber()');
}

/** The schema's version beside the one that this code was written for. */
export async function schemaState(db: Queryable): Promise<SchemaState> {
  const expected = (await readMigrations()).length;
  const current = (await readApplied(db)).length;
  return { current, expected, upToDate: current >= expected };
}

/** @throws PortcullisError unavailable, for the operator, when the schema is behind the code */
export async function requireSchema(db: Queryable): Promise<void> {
  const { current, expected, upToDate } = await schemaState(db);
  if (upToDate) return;
  throw new PortcullisError(
    'unavailable',
    `The schema is at version ${current}, this code needs ${expected}: run \`portcullis migrate\` first.`,
  );
}

async function requireServerVersion(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ number: number; version: string }>(
    `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version`,
  );
  const [server] = rows;
  if (server && server.number < oldestServerVersion) {
    throw new Error(`This is PostgreSQL ${server.version}; Portcullis needs 15 or newer.`);
  }
}

/** Applies `migration` unless it is there; the lock makes each concurrent migrator see what the others committed. */
async function applyNext(tx: Tx, migrations: readonly Migration[], migration: Migration): Promise<boolean> {
  await lockMigrations(tx);
  const applied = await readApplied(tx);
  verifyApplied(applied, migrations);
  if (applied.length >= migration.version) return false;
  try {
    await tx.query(migration.sql);
  } catch (error) {
    const advice = isUnavailable(error) ? ': a table is in use or the server went away; run it again' : '';
    throw new Error(`Migration ${label(migration)} was not applied${advice}. ${String(error)}`, { cause: error });
  }
  await tx.query('INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)', [
    migration.version,
    migration.name,
    migration.checksum,
  ]);
  return true;
}

async function lockMigrations(tx: Tx): Promise<void> {
  await tx.query(`SET LOCAL lock_timeout = ${migrationWaitMs}`);
  try {
    await tx.query('SELECT pg_advisory_xact_lock($1)', [advisoryLock]);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    throw new Error(
      `Another migration has held the lock for ${migrationWaitMs / 1000} s: wait for it, then try again.`,
      {
        cause: error,
      },
    );
  }
  await tx.query(`SET LOCAL lock_timeout = ${migrationLockMs}`);
  await tx.query(
    `CREATE TABLE IF NOT EXISTS schema_migrations (
       version integer PRIMARY KEY,
       name text NOT NULL,
       checksum text NOT NULL,
       applied_at timestamptz NOT NULL DEFAULT now()
     )`,
  );
}

type Applied = Pick<Migration, 'version' | 'name' | 'checksum'>;

async function readApplied(db: Queryable): Promise<Applied[]> {
  const exists = await db.query<{ found: boolean }>(`SELECT to_regclass('schema_migrations') IS NOT NULL AS found`);
  if (exists.rows[0]?.found !== true) return [];
  const { rows } = await db.query<Applied>('SELECT version, name, checksum FROM schema_migrations ORDER BY version');
  return rows;
}

function verifyApplied(applied: readonly Applied[], migrations: readonly Migration[]): void {
  const newest = applied.at(-1);
  if (newest && newest.version > migrations.length) {
    throw new Error(
      `The database is at schema ${label(newest)}, newer than this release (${migrations.length}): use the newer release.`,
    );
  }
  for (const [index, row] of applied.entries()) {
    const migration = migrations[index];
    if (migration?.version !== row.version || migration.checksum !== row.checksum) {
      throw new Error(
        `server/sql/${label(row)}.sql differs from what was applied to this database: restore the file, and put the change in a new one.`,
      );
    }
  }
}

function label(migration: Pick<Migration, 'version' | 'name'>): string {
  return `${String(migration.version).padStart(6, '0')}_${migration.name}`;
}
