import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import {
  agentCaller,
  anotherPool,
  makeAgents,
  operatorCaller,
  projectId,
  writeRun,
} from '../../../test/support/runs.ts';
import { systemClock } from '../base/clock.ts';
import { runWatchesMax, runWatchesPerCallerMax, runWatchPageSize } from '../base/telemetry-limits.ts';
import type { Principal } from '../identity/model.ts';
import { RunEvents } from './events.ts';
import type { ToldEvent } from './model.ts';
import { type Told, watchRun, type WatchParts } from './watch.ts';
import { RunWatches } from './watches.ts';

const one = agentCaller('agt_1');
let db: TestDatabase;
let other: TestDatabase['pool'];
/** Two replicas. */
let replicas: readonly [WatchParts, WatchParts];
let revoked: 'key_revoked' | null = null;
let draining = false;

function partsOn(pool: TestDatabase['pool']): WatchParts {
  const watches = new RunWatches({ pool, clock: systemClock, draining: () => draining });
  return {
    pool,
    clock: systemClock,
    identity: { whyEnded: () => revoked, scopesNow: ({ scopes }) => scopes },
    watches,
  };
}

beforeAll(async () => {
  db = await createTestDatabase();
  other = anotherPool(db);
  await makeAgents(db);
  replicas = [partsOn(db.pool), partsOn(other)];
});
afterAll(async () => {
  await other?.end();
  await db?.drop();
});

const told = (message: string, more: Partial<ToldEvent> = {}): ToldEvent => ({
  type: 'step',
  level: 'info',
  message,
  data: null,
  occurredAt: null,
  clientId: null,
  ...more,
});

const tell = (id: string, ...messages: string[]) =>
  new RunEvents(db.pool, Date.now).recordAll(
    one,
    { id, projectId },
    messages.map((message) => told(message)),
  );

const end = (id: string) =>
  queryAsOwner(db, `UPDATE runs SET state = 'succeeded', finished_at = now() WHERE id = $1`, [id]);

function watch(id: string, { at = 0, position = '', by = one, signal = new AbortController().signal } = {}) {
  return watchRun(replicas[at]!, by, { id, projectId: by.projectId, position }, signal);
}

/** All that is told until the run's end, or until enough is. */
async function heard(stream: AsyncGenerator<Told>, enough: (all: Told[]) => boolean = () => false): Promise<Told[]> {
  const all: Told[] = [];
  for await (const message of stream) {
    all.push(message);
    if (enough(all)) break;
  }
  return all;
}

const messagesOf = (all: readonly Told[]) => all.flatMap(({ event }) => (event ? [event.message] : []));

describe('who watches a run', () => {
  test('is told how it stands, what was told, what comes, and its end, also from another replica', async () => {
    const id = await writeRun(db);
    await tell(id, 'before');
    const watching = [heard(watch(id)), heard(watch(id, { at: 1 }))];
    await sleep(1500);
    await tell(id, 'first', 'second');
    await sleep(1500);
    await tell(id, 'third');
    await end(id);
    for (const all of await Promise.all(watching)) {
      expect(all[0]).toMatchObject({ run: { id, state: 'running' } });
      expect(messagesOf(all).slice(0, 1)).toEqual(['before']);
      expect(messagesOf(all).toSorted()).toEqual(['before', 'first', 'second', 'third']);
      expect(all.at(-1)).toMatchObject({ ended: { id, state: 'succeeded' } });
    }
  });

  test('is told each event once, in whatever order transactions end, and takes up a stream at any place', async () => {
    const id = await writeRun(db);
    const writers = await Promise.all([other.connect(), other.connect()]);
    const events = writers.map((client) => new RunEvents(client as unknown as TestDatabase['pool'], Date.now));
    const run = { id, projectId };
    try {
      const watching = heard(watch(id), (all) => messagesOf(all).includes('last'));
      for (const client of writers) await client.query('BEGIN');
      // Begins first, ends last: what it writes lies below what is seen before it.
      await events[0]!.recordAll(one, run, [told('slow')]);
      await events[1]!.recordAll(one, run, [told('quick')]);
      await writers[1].query('COMMIT');
      await sleep(2500);
      await tell(id, 'between');
      await sleep(1500);
      await writers[0].query('COMMIT');
      await tell(id, 'last');
      const all = await watching;
      expect(messagesOf(all).toSorted()).toEqual(['between', 'last', 'quick', 'slow']);
      await end(id);
      const whole = await heard(watch(id));
      expect(messagesOf(whole).toSorted()).toEqual(['between', 'last', 'quick', 'slow']);
      // Of each stream, from each of its messages on, at the other replica.
      for (const earlier of [all, whole]) {
        for (const [n, { position }] of earlier.entries()) {
          const rest = await heard(watch(id, { at: 1, position }));
          const both = [...messagesOf(earlier.slice(0, n + 1)), ...messagesOf(rest)];
          expect(both.toSorted()).toEqual(['between', 'last', 'quick', 'slow']);
          expect(rest.at(-1)).toHaveProperty('ended');
        }
      }
    } finally {
      for (const client of writers) client.release();
    }
  });

  test('hears all that was told before its end, also by a transaction that was under way then', async () => {
    const id = await writeRun(db);
    const client = await other.connect();
    try {
      const watching = heard(watch(id));
      await client.query('BEGIN');
      await client.query(`SELECT pg_current_xact_id()`);
      await tell(id, 'told');
      await end(id);
      await sleep(2500);
      await client.query('COMMIT');
      const all = await watching;
      expect(messagesOf(all)).toEqual(['told']);
      expect(all.at(-1)).toHaveProperty('ended');
    } finally {
      client.release();
    }
  });

  test('gets many events page by page, and every one once', async () => {
    const id = await writeRun(db);
    const count = runWatchPageSize * 3 + 7;
    const names = Array.from({ length: count }, (_, n) => String(n));
    await tell(id, ...names.slice(0, 500));
    const watching = heard(watch(id));
    await sleep(500);
    await tell(id, ...names.slice(500));
    await end(id);
    expect(messagesOf(await watching).toSorted()).toEqual(names.toSorted());
  });

  test('goes on from a position of another replica, where somebody watches already and that is older news', async () => {
    const [id, busy] = [await writeRun(db), await writeRun(db)];
    const leaving = new AbortController();
    const beside = heard(watch(busy, { at: 1, signal: leaving.signal }));
    await sleep(500);
    for (let n = 0; n < 3; n++) {
      await tell(id, `told ${n}`);
      // Its first look is at once, so that it is ahead of whoever looked before.
      const elsewhere = watchRun(partsOn(db.pool), one, { id, projectId, position: '' }, leaving.signal);
      const position = (await heard(elsewhere, (all) => messagesOf(all).includes(`told ${n}`))).at(-1)!.position;
      await tell(id, `then ${n}`);
      const rest = await heard(watch(id, { at: 1, position }), (all) => messagesOf(all).length > 0);
      expect(messagesOf(rest)).toEqual([`then ${n}`]);
    }
    leaving.abort();
    await beside;
  }, 30_000);

  test('is its agent, or who may see all of the project', async () => {
    const id = await writeRun(db);
    await end(id);
    for (const by of [agentCaller('agt_2'), agentCaller('agt_b'), agentCaller('agt_1', { runId: 'run_other' })])
      await expect(heard(watch(id, { by }))).rejects.toMatchObject({
        code: 'not_found',
        message: `There is no run "${id}" that you may see.`,
      });
    expect(await heard(watch(id, { by: operatorCaller }))).toHaveLength(2);
  });

  test.each(['x', '1.2', '1.2.evt_1', `1.2.'; DROP TABLE runs`, `${'9'.repeat(30)}.1.`, '999999999999.999999999999.'])(
    'names no position such as %s',
    async (position) => {
      const id = await writeRun(db);
      await expect(heard(watch(id, { position }))).rejects.toMatchObject({
        code: 'invalid_argument',
        members: { param: 'position' },
      });
    },
  );

  test('is cut off when the credential no longer holds, or the gate is being stopped', async () => {
    const id = await writeRun(db);
    const cutOff = async (code: string, by = one) => {
      const stream = watch(id, { by });
      await stream.next();
      return expect(heard(stream)).rejects.toMatchObject({ code });
    };
    await cutOff('unauthenticated', agentCaller('agt_1', { expiresAt: Date.now() + 500 }));
    const revoking = cutOff('unauthenticated');
    await sleep(100);
    revoked = 'key_revoked';
    await revoking;
    revoked = null;
    const stopping = cutOff('unavailable');
    await sleep(100);
    draining = true;
    await stopping;
    draining = false;
  });
});

describe('who reads a long backlog', () => {
  test.each(['unauthenticated', 'unavailable'])('is cut off within a page of it: %s', async (code) => {
    const id = await writeRun(db);
    await tell(id, ...Array.from({ length: 1000 }, (_, n) => String(n)));
    const all: Told[] = [];
    const reading = async () => {
      for await (const message of watch(id)) {
        all.push(message);
        if (all.length !== 10) continue;
        if (code === 'unavailable') draining = true;
        else revoked = 'key_revoked';
      }
    };
    try {
      await expect(reading()).rejects.toMatchObject({ code });
    } finally {
      draining = false;
      revoked = null;
    }
    expect(all.length).toBeLessThanOrEqual(1 + runWatchPageSize);
  });
});

describe('all who watch at one process', () => {
  test('are served by one statement a second, while nothing is told', async () => {
    const statements: string[] = [];
    const pool = new Proxy(db.pool, {
      get: (target, name) =>
        name === 'query'
          ? (text: string, values: unknown[]) => {
              statements.push(text);
              return target.query(text, values);
            }
          : Reflect.get(target, name),
    });
    const parts = partsOn(pool);
    const controller = new AbortController();
    const ids = await Promise.all(Array.from({ length: 15 }, () => writeRun(db)));
    const watching = ids.map((id) => heard(watchRun(parts, one, { id, projectId, position: '' }, controller.signal)));
    await sleep(1500);
    statements.length = 0;
    await sleep(3000);
    expect(statements.length).toBeLessThanOrEqual(4);
    controller.abort();
    await Promise.all(watching);
    statements.length = 0;
    await sleep(1500);
    expect(statements).toEqual([]);
  });

  test('are so many at most, in all and of one caller, and make room when they leave', async () => {
    const watches = new RunWatches({ pool: db.pool, clock: systemClock, draining: () => false });
    const callers = Array.from({ length: 100 }, (_, n) => agentCaller(`agt_${n}`));
    const begin = (by: Principal) => watches.begin(by, 'run_1');
    const own = Array.from({ length: runWatchesPerCallerMax }, () => begin(one));
    expect(() => begin(one)).toThrow('You have as many watches');
    own[0]!.end();
    own[0]!.end();
    begin(one);
    expect(() => begin(one)).toThrow('You have as many watches');
    let count = runWatchesPerCallerMax;
    for (const by of callers.slice(2)) for (let n = 0; n < 10 && count < runWatchesMax; n++, count++) begin(by);
    expect(() => begin(callers[0]!)).toThrow('This process has as many watches');
  });
});
