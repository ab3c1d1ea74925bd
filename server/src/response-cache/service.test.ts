import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, createTestDatabase, queryAsOwner } from '../../../test/support/database.ts';
import { cacheQuarantineMs, cacheQuarantinePerProjectMax, cachedAnswerBytesMax } from '../base/limits.ts';
import { ResponseCache, type ResponseCacheOptions, makeRoom } from './service.ts';

let db: TestDatabase;
let cache: ResponseCache;
let nowMs = 1_800_000_000_000;
let quarantined: string[] = [];
const sealKey = createSecretKey(randomBytes(32));

const open = (options: Partial<ResponseCacheOptions> = {}) =>
  new ResponseCache({
    pool: db.pool,
    key: sealKey,
    now: () => nowMs,
    onQuarantined: (projectId, fault) => void quarantined.push(`${projectId} ${fault}`),
    ...options,
  });

beforeAll(async () => {
  db = await createTestDatabase();
  cache = open();
});
afterAll(() => db.drop());
beforeEach(async () => {
  quarantined = [];
  await db.pool.query('DELETE FROM cache_entries');
  await db.pool.query('DELETE FROM cache_quarantine');
});

const answer = (text = 'canary-answer') => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: Buffer.from(text),
});
const key = (n: number) => Buffer.alloc(32, n);
const minute = 60_000;

const textOf = async (projectId: string, n: number, by = cache, ageMaxMs = minute) =>
  (await by.find(projectId, key(n), ageMaxMs))?.answer.body.toString() ?? null;

test('an answer is found by its project and key alone, by every replica, with its age', async () => {
  expect(await cache.find('prj_a', key(1), minute)).toBeNull();
  expect(await cache.keep('prj_a', key(1), answer(), minute)).toBe(true);
  nowMs += 1_500;
  expect(await open().find('prj_a', key(1), minute)).toEqual({ answer: answer(), ageMs: 1_500 });
  expect(await textOf('prj_b', 1)).toBeNull();
  expect(await textOf('prj_a', 2)).toBeNull();
});

test('it is served until its time is over, and to nobody who wants a younger one', async () => {
  await cache.keep('prj_a', key(1), answer(), minute);
  nowMs += minute - 1;
  expect(await textOf('prj_a', 1)).toBe('canary-answer');
  expect(await textOf('prj_a', 1, cache, minute - 1)).toBeNull();
  nowMs += 1;
  expect(await textOf('prj_a', 1, cache, minute * 10)).toBeNull();
  expect(quarantined).toEqual([]);
  expect(await queryAsOwner(db, 'SELECT FROM cache_entries')).toHaveLength(1);
  await cache.purge();
  expect(await queryAsOwner(db, 'SELECT FROM cache_entries')).toHaveLength(0);
});

test('a newer answer takes the place of an older one', async () => {
  await cache.keep('prj_a', key(1), answer('old'), minute);
  nowMs += minute;
  await cache.keep('prj_a', key(1), answer('new'), minute);
  expect(await textOf('prj_a', 1)).toBe('new');
});

test('an answer that is too large is not kept', async () => {
  expect(await cache.keep('prj_a', key(1), answer('x'.repeat(cachedAnswerBytesMax + 1)), minute)).toBe(false);
  expect(await cache.keep('prj_a', key(1), answer('x'.repeat(cachedAnswerBytesMax)), minute)).toBe(true);
});

test('no row tells what was answered', async () => {
  await cache.keep('prj_a', key(1), answer(), minute);
  const [row] = await queryAsOwner<{ entry: Buffer }>(db, 'SELECT entry FROM cache_entries');
  expect(row?.entry.includes('canary')).toBe(false);
});

describe('a damaged entry', () => {
  const damages: Record<string, [fault: string, statement: string]> = {
    'with a flipped bit': ['digest', `UPDATE cache_entries SET entry = set_bit(entry, 900, 1 - get_bit(entry, 900))`],
    'cut short': ['truncated', `UPDATE cache_entries SET entry = substr(entry, 1, octet_length(entry) - 1)`],
    'of another version': ['version', `UPDATE cache_entries SET entry = set_byte(entry, 5, 9)`],
    'that is none at all': ['malformed', `UPDATE cache_entries SET entry = '\\x00'`],
    'that is empty': ['malformed', `UPDATE cache_entries SET entry = ''`],
    'of another project': [
      'project',
      `UPDATE cache_entries SET entry = (SELECT entry FROM cache_entries WHERE project_id = 'prj_b')`,
    ],
    'of another key': [
      'key',
      `UPDATE cache_entries SET entry = (SELECT entry FROM cache_entries WHERE project_id = 'prj_a' AND key = decode(repeat('02', 32), 'hex'))`,
    ],
  };
  for (const [what, [fault, statement]] of Object.entries(damages)) {
    test(`${what} is put aside as it is, counted once, and not served`, async () => {
      await cache.keep('prj_a', key(1), answer(), minute);
      await cache.keep('prj_a', key(2), answer('second'), minute);
      await cache.keep('prj_b', key(1), answer('foreign'), minute);
      await queryAsOwner(db, `${statement} WHERE project_id = 'prj_a' AND key = $1`, [key(1)]);
      const [found] = await queryAsOwner<{ entry: Buffer }>(
        db,
        `SELECT entry FROM cache_entries WHERE project_id = 'prj_a' AND key = $1`,
        [key(1)],
      );
      expect(await Promise.all(Array.from({ length: 5 }, () => textOf('prj_a', 1)))).toEqual(Array(5).fill(null));
      expect(quarantined).toEqual([`prj_a ${fault}`]);
      expect(await queryAsOwner(db, 'SELECT project_id, key, entry, reason FROM cache_quarantine')).toEqual([
        { project_id: 'prj_a', key: key(1), entry: found?.entry, reason: fault },
      ]);
      // Its neighbours are served, and a good one takes its place.
      expect([await textOf('prj_a', 2), await textOf('prj_b', 1)]).toEqual(['second', 'foreign']);
      await cache.keep('prj_a', key(1), answer('again'), minute);
      expect(await textOf('prj_a', 1)).toBe('again');
    });
  }

  test('swapped between two projects is served to neither', async () => {
    await cache.keep('prj_a', key(1), answer('of a'), minute);
    await cache.keep('prj_b', key(1), answer('of b'), minute);
    await queryAsOwner(
      db,
      `UPDATE cache_entries x SET entry = y.entry FROM cache_entries y WHERE x.project_id <> y.project_id`,
    );
    expect([await textOf('prj_a', 1), await textOf('prj_b', 1)]).toEqual([null, null]);
    expect(quarantined).toEqual(['prj_a project', 'prj_b project']);
  });

  test('is told from one sealed under another master key', async () => {
    await cache.keep('prj_a', key(1), answer(), minute);
    expect(await textOf('prj_a', 1, open({ key: createSecretKey(randomBytes(32)) }))).toBeNull();
    expect(quarantined).toEqual(['prj_a seal']);
  });

  test('makes room for newer ones, and goes in the end', async () => {
    for (let n = 0; n < cacheQuarantinePerProjectMax + 3; n++) {
      await cache.keep('prj_a', key(n), answer(), minute);
      await queryAsOwner(db, `UPDATE cache_entries SET entry = '\\x01'`);
      await textOf('prj_a', n);
    }
    const rows = await queryAsOwner<{ key: Buffer }>(db, 'SELECT key FROM cache_quarantine ORDER BY id');
    expect(rows).toHaveLength(cacheQuarantinePerProjectMax);
    expect(rows[0]?.key).toEqual(key(3));
    nowMs += cacheQuarantineMs + 1;
    await cache.purge();
    expect(await queryAsOwner(db, 'SELECT FROM cache_quarantine')).toHaveLength(0);
  });
});

describe('a project that has too much', () => {
  const left = async () =>
    (
      await queryAsOwner<{ project_id: string; n: number }>(
        db,
        'SELECT project_id, get_byte(key, 0) AS n FROM cache_entries ORDER BY 1, 2',
      )
    ).map(({ project_id, n }) => `${project_id} ${n}`);

  beforeEach(async () => {
    for (const n of [4, 2, 3, 1]) {
      nowMs += 1;
      await cache.keep('prj_a', key(n), answer('x'.repeat(1_000)), minute);
    }
    await cache.keep('prj_b', key(1), answer(), minute);
  });

  test('loses its oldest entries beyond a number', async () => {
    await makeRoom(db.pool, { entries: 3, bytes: 1e9 }, 1_000);
    expect(await left()).toEqual(['prj_a 1', 'prj_a 2', 'prj_a 3', 'prj_b 1']);
    await makeRoom(db.pool, { entries: 1, bytes: 1e9 }, 1);
    expect(await left()).toEqual(['prj_a 1', 'prj_b 1']);
  });

  test('and beyond a number of bytes; others lose nothing', async () => {
    await makeRoom(db.pool, { entries: 100, bytes: 2_500 }, 1_000);
    expect(await left()).toEqual(['prj_a 1', 'prj_a 3', 'prj_b 1']);
  });
});

test('many that keep and find at once do not stand in each other’s way', async () => {
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      await cache.keep('prj_a', key(i % 7), answer(`answer ${i % 7}`), minute);
      expect(await textOf('prj_a', i % 7)).toBe(`answer ${i % 7}`);
    }),
  );
  nowMs += 1;
  await cache.keep('prj_a', key(1), answer('newest'), minute);
  await Promise.all(Array.from({ length: 20 }, () => makeRoom(db.pool, { entries: 2, bytes: 1e9 }, 2)));
  // The others were stored in one millisecond.
  expect(await queryAsOwner(db, 'SELECT FROM cache_entries')).toHaveLength(1);
  expect(quarantined).toEqual([]);
});
