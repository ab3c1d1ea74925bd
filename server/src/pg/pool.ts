import { Client, Pool, TypeOverrides, type ClientConfig } from 'pg';
import type { Statement } from './bounded-client.ts';
import { queryInRequest } from './request-scope.ts';

/** How a connection is made and what bounds each statement on it. */
export interface ConnectionOptions {
  readonly connectionString: string;
  readonly statementMs: number;
  readonly lockMs: number;
  readonly connectMs: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** For statements that find every row by its key, and are prepared once: their plans do not depend on statistics. */
  readonly plansByKey?: boolean;
}

export interface PoolOptions extends ConnectionOptions {
  readonly max: number;
  readonly idleMs: number;
  readonly lifetimeMs: number;
  /** Told of connections that broke while nobody waited for an answer on them. */
  readonly onError: (error: Error) => void;
}

// The client gives up this much later than the server should have: only a connection that fell silent gets there.
const silenceMs = 2_000;

// A plan that was made while a table was new and small would read all of it, however large it grows, until statistics
// are gathered: the ledger's statements then cost ten times as much.
const plansByKey = [
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'plan_cache_mode=force_generic_plan',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');

const int8 = 20;
const int8Array = 1016;

/** int8 arrives as `bigint`; everything else as the driver does it (numeric is text, timestamptz is `Date`). */
function typeOverrides(): TypeOverrides {
  const overrides = new TypeOverrides();
  overrides.setTypeParser(int8, BigInt);
  overrides.setTypeParser(int8Array, parseInt8Array);
  return overrides;
}

/** One dimension, as PostgreSQL writes it: `{1,NULL,-2}`. */
function parseInt8Array(text: string): (bigint | null)[] {
  return (text.match(/-?\d+|NULL/g) ?? []).map((item) => (item === 'NULL' ? null : BigInt(item)));
}

function clientConfig(options: ConnectionOptions): ClientConfig {
  return {
    connectionString: options.connectionString,
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectMs,
    statement_timeout: options.statementMs,
    lock_timeout: options.lockMs,
    idle_in_transaction_session_timeout: options.statementMs,
    query_timeout: options.statementMs + silenceMs,
    keepAlive: true,
    types: typeOverrides(),
    ...(options.plansByKey === true && { options: plansByKey }),
  };
}

/**
 * A pool of connections that breaks no process: what happens to a connection outside a query goes to `onError`. A statement
 * that is made in a request of the control API is the request's (pg/request-scope.ts).
 */
export function createPool(options: PoolOptions): Pool {
  const pool = new Pool({
    ...clientConfig(options),
    max: options.max,
    idleTimeoutMillis: options.idleMs,
    maxLifetimeSeconds: Math.ceil(options.lifetimeMs / 1000),
  });
  pool.on('error', options.onError);
  // The pool listens to idle clients alone; one that breaks between two statements of a transaction would crash us.
  pool.on('connect', (client) => client.on('error', () => undefined));
  const query = pool.query.bind(pool);
  pool.query = ((...statement: Statement) => queryInRequest(pool, statement) ?? query(...statement)) as Pool['query'];
  return pool;
}

/** A single connection, not yet opened, with the pool's types and bounds. Its owner listens to `error`. */
export function createClient(options: ConnectionOptions): Client {
  return new Client(clientConfig(options));
}
