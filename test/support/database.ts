import { randomBytes } from 'node:crypto';
import { Client, escapeIdentifier, type Pool } from 'pg';
import { inject } from 'vitest';
import { createPool } from '../../server/src/pg/pool.ts';

/** The bounds of a pool in tests; `connectionString` is to be added. */
export const testBounds = {
  max: 10,
  idleMs: 10_000,
  lifetimeMs: 600_000,
  statementMs: 15_000,
  lockMs: 5_000,
  connectMs: 5_000,
  applicationName: 'test',
  onError: () => undefined,
};

export interface TestDatabase {
  /** The application's role. */
  readonly appUrl: string;
  /** A superuser. */
  readonly ownerUrl: string;
  /** Of the application's role, as the server makes it. */
  readonly pool: Pool;
  /** Ends the pool and removes the database, whoever is still connected. */
  drop(): Promise<void>;
}

/** A migrated database without rows, of the caller's own, on the run's server. */
export function createTestDatabase(): Promise<TestDatabase> {
  return createDatabase(new URL(inject('postgres').ownerUrl).pathname.slice(1));
}

/** A database in which nothing was migrated. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return createDatabase('template1');
}

async function createDatabase(template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer((client) =>
    client.query(`CREATE DATABASE ${escapeIdentifier(name)} TEMPLATE ${escapeIdentifier(template)}`),
  );
  const appUrl = withDatabase(inject('postgres').appUrl, name);
  const pool = createPool({ ...testBounds, connectionString: appUrl });
  return {
    appUrl,
    ownerUrl: withDatabase(inject('postgres').ownerUrl, name),
    pool,
    drop: async () => {
      if (!pool.ended) await pool.end();
      await administer((client) => client.query(`DROP DATABASE IF EXISTS ${escapeIdentifier(name)} WITH (FORCE)`));
    },
  };
}

/** Reads or changes what the application's role must not, as the superuser. */
export async function queryAsOwner<R extends object = Record<string, unknown>>(
  { ownerUrl }: TestDatabase,
  statement: string,
  values: readonly unknown[] = [],
): Promise<R[]> {
  const client = new Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    return (await client.query<R>(statement, [...values])).rows;
  } finally {
    await client.end();
  }
}

/** Runs statements as the superuser, outside of any test's database. */
async function administer(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: withDatabase(inject('postgres').ownerUrl, 'postgres') });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
