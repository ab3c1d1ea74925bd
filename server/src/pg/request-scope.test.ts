import { AsyncLocalStorage } from 'node:async_hooks';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, createTestDatabase, queryAsOwner, testBounds } from '../../../test/support/database.ts';
import { createPool } from './pool.ts';
import { inRequest, outsideRequests, seenAfterCommit } from './request-scope.ts';
import { controlWrite, inRequestTransaction, inTransaction, type Queryable } from './tx.ts';

let db: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  db = await createTestDatabase();
  await queryAsOwner(db, 'CREATE TABLE jottings (text text PRIMARY KEY)');
  await queryAsOwner(db, `GRANT ALL ON jottings TO ${new URL(db.appUrl).username}`);
  // Longer than these tests take: no timeout of the database ends what they wait for.
  const bounds = { ...testBounds, max: 3, statementMs: 120_000, lockMs: 120_000, connectMs: 60_000 };
  pool = createPool({ ...bounds, connectionString: db.appUrl, applicationName: 'scoped' });
});
afterAll(async () => {
  await pool.end();
  await db.drop();
});
beforeEach(() => queryAsOwner(db, 'TRUNCATE jottings'));

const never = new AbortController().signal;
const insert = (on: Queryable, text: string) => on.query('INSERT INTO jottings VALUES ($1)', [text]);

async function read(on: Queryable): Promise<string[]> {
  const { rows } = await on.query<{ text: string }>('SELECT text FROM jottings ORDER BY text');
  return rows.map(({ text }) => text);
}

/** What the database is still doing for the pool. */
async function running(): Promise<string[]> {
  const rows = await queryAsOwner<{ query: string }>(
    db,
    `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'scoped' AND state <> 'idle'`,
  );
  return rows.map(({ query }) => query);
}

/** Everything of one request in its one transaction. */
const asOne = <T>(work: () => Promise<T>, signal = never) =>
  inRequest(pool, signal, () => inRequestTransaction(pool, work));

describe('in the transaction of its request', () => {
  test('whatever is written is seen by all that follows, and by nobody else before the commit', async () => {
    await asOne(async () => {
      await inTransaction(pool, (tx) => insert(tx, 'one'));
      await insert(pool, 'two');
      expect(await read(pool)).toEqual(['one', 'two']);
      expect(await read(db.pool)).toEqual([]);
    });
    expect(await read(db.pool)).toEqual(['one', 'two']);
  });

  test('what throws undoes all of it', async () => {
    const failed = asOne(async () => {
      await inTransaction(pool, (tx) => insert(tx, 'one'));
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    expect(await read(db.pool)).toEqual([]);
  });

  test('a part that failed is undone by itself, and whoever catches that goes on', async () => {
    await asOne(async () => {
      await inTransaction(pool, (tx) => insert(tx, 'one'));
      const taken = inTransaction(pool, async (tx) => {
        await insert(tx, 'two');
        await insert(tx, 'one');
      });
      await expect(taken).rejects.toMatchObject({ code: '23505' });
      await inTransaction(pool, (tx) => insert(tx, 'three'));
    });
    expect(await read(db.pool)).toEqual(['one', 'three']);
  });

  test('parts nest, and parts beside each other take turns', async () => {
    await asOne(async () => {
      await Promise.all(
        ['a', 'b', 'c', 'd'].map((name) =>
          inTransaction(pool, async (tx) => {
            await insert(tx, name);
            await inTransaction(pool, () => insert(pool, `${name} inner`));
            if (name === 'b') throw new Error('undone');
          }).catch(() => undefined),
        ),
      );
    });
    expect(await read(db.pool)).toEqual(['a', 'a inner', 'c', 'c inner', 'd', 'd inner']);
  });

  test('a statement beside a part takes its turn behind it, and is not undone with it', async () => {
    await asOne(async () => {
      const begun = Promise.withResolvers<void>();
      const part = inTransaction(pool, async (tx) => {
        await insert(tx, 'part');
        begun.resolve();
        await tx.query('SELECT pg_sleep(0.05)');
        throw new Error('undone');
      });
      await begun.promise;
      await Promise.all([part.catch(() => undefined), insert(pool, 'beside')]);
    });
    expect(await read(db.pool)).toEqual(['beside']);
  });

  describe('what is still open when', () => {
    const settled = async (work: Promise<unknown>) => work.catch((error: Error) => error.message);

    test('the transaction ends undoes all of it', async () => {
      let part: Promise<unknown> = Promise.resolve();
      const ended = asOne(async () => {
        await insert(pool, 'one');
        part = settled(
          inTransaction(pool, async (tx) => {
            await insert(tx, 'two');
            await tx.query('SELECT pg_sleep(0.05)');
          }),
        );
      });
      await expect(ended).rejects.toThrow('a part of it was still open');
      await part;
      expect(await read(db.pool)).toEqual([]);
    });

    test('a sibling fails is never committed, whoever catches that', async () => {
      const ended = asOne(async () => {
        const parts = inTransaction(pool, () =>
          Promise.all([
            inTransaction(pool, async (tx) => {
              await insert(tx, 'one');
              throw new Error('no');
            }),
            inTransaction(pool, (tx) => insert(tx, 'two')),
            insert(pool, 'three'),
          ]),
        );
        await parts.catch(() => undefined);
        await insert(pool, 'after');
        await pool.query('SELECT pg_sleep(0.05)');
      });
      await expect(ended).rejects.toThrow('a part of it was still open');
      expect(await read(db.pool)).toEqual([]);
    });

    test('its part ends is never committed, whoever catches that', async () => {
      const ended = asOne(async () => {
        const part = inTransaction(pool, async (tx) => {
          await insert(tx, 'one');
          void settled(inTransaction(pool, (inner) => insert(inner, 'two')));
        });
        await part.catch(() => undefined);
      });
      await expect(ended).rejects.toThrow('a part of it was still open');
      expect(await read(db.pool)).toEqual([]);
    });
  });

  test('control versions are noted with the parts that stay, the newest of them', async () => {
    const noting = (fails: boolean) =>
      inTransaction(pool, async () => {
        const { version } = await controlWrite(pool, async () => undefined);
        expect(seenAfterCommit(version)).toBe(true);
        if (fails) throw new Error('undone');
        return version;
      });
    const [kept, noted] = await inRequest(pool, never, () =>
      inRequestTransaction(pool, async (_tx, transaction) => {
        await noting(false);
        const last = await noting(false);
        await noting(true).catch(() => undefined);
        return [last, transaction.version];
      }),
    );
    expect(noted).toBe(kept);
    expect(seenAfterCommit(1n)).toBe(false);
  });

  test('another pool has nothing to do with it', async () => {
    const failed = asOne(async () => {
      await inTransaction(db.pool, (tx) => insert(tx, 'elsewhere'));
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    expect(await read(db.pool)).toEqual(['elsewhere']);
  });

  test('what outlives its transaction or its request runs by itself', async () => {
    let later: () => Promise<unknown> = () => Promise.resolve();
    let late: Queryable = pool;
    const ending = new AbortController();
    await asOne(async () => {
      const snapshot = AsyncLocalStorage.snapshot();
      later = () => snapshot(() => inTransaction(pool, (tx) => insert(tx, 'later')));
      await inTransaction(pool, async (tx) => {
        late = tx;
      });
    }, ending.signal);
    ending.abort();
    await later();
    expect(await read(db.pool)).toEqual(['later']);
    await expect(insert(late, 'too late')).rejects.toThrow('after the end of its transaction');
  });

  test('work for everybody is no part of it', async () => {
    const failed = asOne(async () => {
      await outsideRequests(() => insert(pool, 'for all'));
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    expect(await read(db.pool)).toEqual(['for all']);
  });
});

test('a transaction in which a statement failed and nobody told is not taken for committed', async () => {
  const silent = inTransaction(pool, async (tx) => {
    await tx.query('SELECT 1 / 0').catch(() => undefined);
  });
  await expect(silent).rejects.toThrow('could not be committed');
});

describe('when a request ends early', () => {
  const gone = new Error('gone');

  /** Holds a row that the work of a request then waits for. */
  async function whileLocked(work: (ending: AbortController) => Promise<unknown>): Promise<void> {
    await insert(db.pool, 'locked');
    const blocker = await db.pool.connect();
    try {
      await blocker.query('BEGIN');
      await blocker.query(`UPDATE jottings SET text = 'changed'`);
      await work(new AbortController());
    } finally {
      await blocker.query('ROLLBACK');
      blocker.release();
    }
  }

  const locked = `UPDATE jottings SET text = 'mine'`;
  const ways: Readonly<Record<string, () => Promise<unknown>>> = {
    'a statement by itself': () => pool.query(locked),
    'a transaction': () => inTransaction(pool, (tx) => tx.query(locked)),
    'the transaction of the request': () =>
      inRequestTransaction(pool, () => inTransaction(pool, (tx) => tx.query(locked))),
  };

  test.each(Object.entries(ways))('%s that waits is cancelled in the database', async (_name, wait) => {
    await whileLocked(async (ending) => {
      const waiting = inRequest(pool, ending.signal, wait);
      waiting.catch(() => undefined);
      await expect.poll(running, { timeout: 10_000 }).toContain(locked);
      ending.abort(gone);
      await expect(waiting).rejects.toBe(gone);
      await expect.poll(running, { timeout: 10_000 }).toEqual([]);
    });
    expect(await read(pool)).toEqual(['locked']);
  });

  test('no other statement begins, and nothing is committed', async () => {
    const ending = new AbortController();
    const stopped = asOne(async () => {
      await insert(pool, 'before');
      ending.abort(gone);
    }, ending.signal);
    await expect(stopped).rejects.toBe(gone);
    await expect(inRequest(pool, ending.signal, () => insert(pool, 'after'))).rejects.toBe(gone);
    expect(await read(db.pool)).toEqual([]);
  });

  test('waiting for a connection ends too, and the pool is whole afterwards', async () => {
    await whileLocked(async () => {
      const endings = Array.from({ length: 9 }, () => new AbortController());
      const waiting = endings.map(({ signal }) => inRequest(pool, signal, () => pool.query(locked)));
      await expect.poll(async () => (await running()).length, { timeout: 10_000 }).toBe(3);
      for (const ending of endings.toReversed()) ending.abort(gone);
      for (const each of await Promise.allSettled(waiting)) expect(each).toEqual({ status: 'rejected', reason: gone });
      await expect.poll(running, { timeout: 10_000 }).toEqual([]);
    });
    await expect.poll(() => pool.waitingCount, { timeout: 10_000 }).toBe(0);
    const reads = await Promise.all(Array.from({ length: 9 }, () => read(pool)));
    expect(new Set(reads.flat())).toEqual(new Set(['locked']));
  });

  test('a cancellation strikes no other request, however many end at any moment', async () => {
    const answers = await Promise.allSettled(
      Array.from({ length: 300 }, async (_, index) => {
        if (index % 2 === 0) return inRequest(pool, never, () => pool.query('SELECT pg_sleep(0.001)'));
        const ending = new AbortController();
        setTimeout(() => ending.abort(gone), index);
        return inRequest(pool, ending.signal, () => pool.query('SELECT pg_sleep(0.005)'));
      }),
    );
    const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
    expect(failures.filter((reason) => reason !== gone)).toEqual([]);
    expect(answers.filter((_, index) => index % 2 === 0).every(({ status }) => status === 'fulfilled')).toBe(true);
  });
});
