import type { Pool, PoolClient } from 'pg';

/** A pool or a client: what a read may run on. */
export type Queryable = Pick<PoolClient, 'query'>;

declare const begun: unique symbol;

/** A client between BEGIN and COMMIT. Writes ask for it, so that a write outside a transaction does not type-check. */
export type Tx = Queryable & { readonly [begun]: true };

/**
 * Runs `work` in one transaction: commits what it returns, rolls back what it throws. A connection whose state is in
 * doubt is closed, not reused.
 */
export async function inTransaction<T>(pool: Pool, work: (tx: Tx) => Promise<T>, begin = 'BEGIN'): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(begin);
    const result = await work(begunOn(client));
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    client.release(broken);
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
 * @returns what `work` returned, and the version that a replica must reach to have seen it
 */
export async function controlWrite<T>(
  pool: Pool,
  work: (tx: Tx, version: bigint) => Promise<T>,
): Promise<{ result: T; version: bigint }> {
  return inTransaction(pool, async (tx) => {
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
