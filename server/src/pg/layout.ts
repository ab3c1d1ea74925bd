import type { Queryable, Tx } from './tx.ts';

/** How the tables of telemetry lie: in partitions of PostgreSQL, or in hypertables of TimescaleDB (decision 0025). */
export type Layout = 'plain' | 'timescale';

const oldestTimescale = [2, 23] as const;

/**
 * The layout of this database: what was decided when its first migration ran, or, before that, what is asked for now, which is
 * written down.
 * @throws Error with a sentence for the operator: decided otherwise, or TimescaleDB is not there as it must be
 */
export async function decideLayout(tx: Tx, timescale: boolean, migrated: boolean): Promise<Layout> {
  await tx.query(
    `CREATE TABLE IF NOT EXISTS schema_layout (
       one boolean PRIMARY KEY DEFAULT true CHECK (one),
       layout text NOT NULL CHECK (layout IN ('plain', 'timescale')),
       decided_at timestamptz NOT NULL DEFAULT now()
     )`,
  );
  const decided = (await readLayout(tx)) ?? (migrated ? 'plain' : null);
  if (timescale && decided === 'plain') {
    throw new Error(
      'This database was migrated without TimescaleDB and stays so: make a new one, and run `portcullis migrate --timescale --copy-from` on it to move the data there.',
    );
  }
  const layout = decided ?? (timescale ? 'timescale' : 'plain');
  if (layout === 'timescale') await requireTimescale(tx);
  await tx.query('INSERT INTO schema_layout (layout) VALUES ($1) ON CONFLICT DO NOTHING', [layout]);
  return layout;
}

async function readLayout(db: Queryable): Promise<Layout | null> {
  const { rows } = await db.query<{ layout: Layout }>('SELECT layout FROM schema_layout');
  return rows[0]?.layout ?? null;
}

async function requireTimescale(db: Queryable): Promise<void> {
  const { rows } = await db.query<{ version: string; schema: string; license: string | null }>(
    `SELECT extversion AS version, extnamespace::regnamespace::text AS schema,
            current_setting('timescaledb.license', true) AS license
     FROM pg_extension WHERE extname = 'timescaledb'`,
  );
  const [found] = rows;
  if (!found) {
    throw new Error(
      'TimescaleDB is not in this database: install it on the server (https://docs.tigerdata.com/self-hosted/latest/install/), put timescaledb into shared_preload_libraries, run CREATE EXTENSION timescaledb in this database, then migrate again.',
    );
  }
  const [major = 0, minor = 0] = found.version.split('.').map((part) => Number.parseInt(part, 10));
  const [oldestMajor, oldestMinor] = oldestTimescale;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    throw new Error(
      `This is TimescaleDB ${found.version}; Portcullis needs ${oldestTimescale.join('.')} or newer: run ALTER EXTENSION timescaledb UPDATE.`,
    );
  }
  if (found.license === 'apache') {
    throw new Error(
      "This TimescaleDB is the Apache edition, which does not compress: set timescaledb.license = 'timescale' on the server, or migrate without --timescale.",
    );
  }
  if (found.schema !== 'public') {
    throw new Error(
      `TimescaleDB is in the schema ${found.schema}: drop it, and run CREATE EXTENSION timescaledb SCHEMA public in this database.`,
    );
  }
}
