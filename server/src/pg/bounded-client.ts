import type { Pool, PoolClient, QueryResult } from 'pg';
import { unlessAborted } from '../base/aborted.ts';
import { cancelEveryMs } from '../base/limits.ts';
import { requestCancel } from './cancel.ts';
import type { Queryable } from './tx.ts';

/** What `query` of the driver is called with. */
export type Statement = readonly [text: string, values?: unknown[]];

/**
 * A connection of the pool, or the reason of `signal`. One that comes too late goes back.
 * @throws what `signal` was aborted with
 */
export async function connectWithin(pool: Pool, signal: AbortSignal): Promise<PoolClient> {
  signal.throwIfAborted();
  const connecting = pool.connect();
  try {
    return await unlessAborted(connecting, signal);
  } catch (error) {
    connecting.then(
      (client) => client.release(),
      () => undefined,
    );
    throw error;
  }
}

/**
 * A connection whose statements end with a request: when `signal` aborts, the one under way is cancelled in PostgreSQL
 * and no other begins. Statements run one after the other, in the order in which they were asked for. Its owner must
 * close the connection rather than reuse it once `signal` has aborted, since a cancellation may still be on its way.
 */
export class BoundedClient {
  readonly #client: PoolClient;
  readonly #signal: AbortSignal;
  #last: Promise<unknown> = Promise.resolve();
  #isEnded = false;

  constructor(client: PoolClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  readonly query: Queryable['query'] = ((...statement: Statement) => {
    const turn = this.#last.then(() => this.#run(statement));
    this.#last = turn.catch(() => undefined);
    return turn;
  }) as Queryable['query'];

  /** From now on the connection is somebody else's: what comes late must not run on it. */
  end(): void {
    this.#isEnded = true;
  }

  async #run(statement: Statement): Promise<QueryResult> {
    if (this.#isEnded) throw new Error('A statement was begun after the end of its transaction.');
    const signal = this.#signal;
    signal.throwIfAborted();
    let asking: NodeJS.Timeout | undefined;
    const cancel = () => {
      requestCancel(this.#client);
      asking = setInterval(() => requestCancel(this.#client), cancelEveryMs);
    };
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await this.#client.query(...statement);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
      clearInterval(asking);
    }
  }
}
