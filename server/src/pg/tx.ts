import type { Pool, PoolClient } from 'pg';
import { BoundedClient, connectWithin } from './bounded-client.ts';
import { SharedTransaction, requestOn } from './request-scope.ts';

/** A pool or a client: what a read may run on. */
export type Queryable = Pick<PoolClient, 'query'>;

declare const begun: unique symbol;

/** A client between BEGIN and COMMIT. Writes ask for it, so that a write outside a transaction does not type-check. */
export type Tx = Queryable & { readonly [begun]: true };

/**
 * Runs `work` in one transaction: commits what it returns, rolls back what it throws. Where the request of the control
 * API has a transaction open, `work` becomes a part of that one (pg/request-scope.ts). A connection whose state is in doubt
 * is closed, not reused.
 */
export async function inTransaction<T>(pool: Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  const scope = requestOn(pool);
  if (scope === null) return transact(await pool.connect(), work);
  const { request, transaction } = scope;
  return transaction ? transaction.join(request, work) : transactWithin(pool, request.signal, work);
}

/**
 * Runs `work` in the one transaction of its request: whatever it does on this pool joins it.
 * @throws what `work` throws, or the end of the request
 */
export async function inRequestTransaction<T>(
  pool: Pool,
  work: (tx: Tx, transaction: SharedTransaction) => Promise<T>,
): Promise<T> {
  const request = requestOn(pool)?.request;
  if (request === undefined) throw new Error('There is no request whose transaction this could be.');
  return transactWithin(pool, request.signal, (tx) => {
    const transaction = new SharedTransaction(tx);
    return transaction.run(request, () => work(tx, transaction));
  });
}

async function transactWithin<T>(pool: Pool, signal: AbortSignal, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await connectWithin(pool, signal);
  const bounded = new BoundedClient(client, signal);
  return transact(
    client,
    async () => {
      try {
        const result = await work(begunOn(bounded));
        // The last moment: a commit is not cancelled, since one that waits for a standby would be left in doubt.
        signal.throwIfAborted();
        return result;
      } finally {
        bounded.end();
      }
    },
    signal,
  );
}

async function transact<T>(client: PoolClient, work: (tx: Tx) => Promise<T>, signal?: AbortSignal): Promise<T> {
  let broken: Error | undefined;
  try {
    await client.query('BEGIN');
    const result = await work(begunOn(client));
    const { command } = await client.query('COMMIT');
    // What PostgreSQL answers to the commit of a transaction in which a statement failed and nobody told.
    if (command === 'ROLLBACK') throw new Error('A transaction could not be committed: a statement in it had failed.');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    client.release(broken ?? signal?.aborted);
  }
}

/** The one place where a client becomes a transaction: after its BEGIN. */
function begunOn(client: Queryable): Tx {
  return client as Tx;
}

/** The channel on which control writes are announced; a poll covers lost notifications. */
export const controlChannel = 'portcullis_control';

/**
 * Runs a change of control state: increments the one version row first, so that versions follow commit order, and
 * gives `work` the version to stamp on every row it changes.
 * @param before what may wait for others: done in the same transaction before that row is locked, for which all of them wait
 * @returns what `work` returned, and the version that a replica must reach to have seen it
 */
export async function controlWrite<T>(
  pool: Pool,
  work: (tx: Tx, version: bigint) => Promise<T>,
  before?: (tx: Tx) => Promise<void>,
): Promise<{ result: T; version: bigint }> {
  return inTransaction(pool, async (tx) => {
    await before?.(tx);
    const bumped = await tx.query<{ version: bigint }>(
      'UPDATE control_version SET version = version + 1 RETURNING version',
    );
    const version = bumped.rows[0]?.version;
    if (version === undefined) throw new Error('control_version has no row: the schema is damaged');
    const result = await work(tx, version);
    await tx.query(`SELECT pg_notify('${controlChannel}', $1)`, [version.toString()]);
    return { result, version };
  });
}
