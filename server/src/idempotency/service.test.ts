import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, createTestDatabase, queryAsOwner, testBounds } from '../../../test/support/database.ts';
import { openFaultyLink } from '../../../test/support/faulty-link.ts';
import { digestOf } from '../base/digest.ts';
import { idempotencyKeptMs, idempotentAnswerBytesMax, idempotentRefusalKeptMs } from '../base/limits.ts';
import { createPool } from '../pg/pool.ts';
import type { Claim, KeyUse } from './model.ts';
import { type IdempotencyOptions, Idempotency, makeRoom } from './service.ts';

let db: TestDatabase;
let nowMs = 1_800_000_000_000;
let keys: Idempotency;
const key = createSecretKey(randomBytes(32));

const open = (options: Partial<IdempotencyOptions> = {}) =>
  new Idempotency({ pool: db.pool, key, now: () => nowMs, waitMs: 5_000, ...options });

beforeAll(async () => {
  db = await createTestDatabase();
  keys = open();
});
afterAll(() => db.drop());
beforeEach(() => db.pool.query('DELETE FROM idempotency_keys'));

const leaseMs = 60_000;
const said = 'canary-what-the-model-said';
const answer = { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from(said) };

function use(body = 'hello', scope: Partial<KeyUse['scope']> = {}): KeyUse {
  return {
    scope: { projectId: 'prj_a', principal: 'agent agt_a', operation: '/v1/messages', key: 'one', ...scope },
    fingerprint: digestOf([body]),
    leaseMs,
  };
}

async function claim(asked = use(), by = keys): Promise<Claim> {
  const claimed = await by.claim(asked);
  if (claimed.claim === null) throw new Error('the key was used before');
  return claimed.claim;
}

const codeOf = (asked: KeyUse, by = keys) =>
  by.claim(asked).then(
    ({ answer }) => (answer === null ? 'claimed' : 'replay'),
    (error: { code: string; members: { rule?: string } }) => error.members.rule ?? error.code,
  );

test('the first request claims the key; until it ends the others are told to ask again', async () => {
  const mine = await claim();
  await expect(keys.claim(use())).rejects.toMatchObject({
    code: 'in_progress',
    status: 409,
    final: false,
    members: { retryAfterS: 1 },
  });
  await keys.finish(mine, answer);
  expect(await keys.claim(use())).toEqual({ claim: null, answer });
});

test('another request under the same key is refused before and after the first one ends, and never gets its answer', async () => {
  const mine = await claim();
  await expect(keys.claim(use('other'))).rejects.toMatchObject({
    code: 'idempotency_mismatch',
    status: 422,
    final: true,
  });
  await keys.finish(mine, answer);
  expect(await codeOf(use('other'))).toBe('idempotency_mismatch');
});

test('project, principal, operation and key make the scope: each other one is another key', async () => {
  await keys.finish(await claim(), answer);
  for (const scope of [
    { projectId: 'prj_b' },
    { principal: 'agent agt_b' },
    { principal: 'operator agt_a' },
    { operation: '/v1/embeddings' },
    { key: 'One' },
    { principal: 'agent agt_', key: 'aone' },
  ])
    expect(await codeOf(use('hello', scope))).toBe('claimed');
});

test('of 50 claims at once through two gates one gets the key', async () => {
  const other = open();
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => codeOf(use(), i % 2 ? keys : other)));
  expect(all.filter((each) => each === 'claimed')).toHaveLength(1);
  expect(all.filter((each) => each === 'in_progress')).toHaveLength(49);
});

test('a key that is given back can be claimed anew, and the earlier owner cannot end the new claim', async () => {
  const first = await claim();
  await keys.release(first);
  const second = await claim();
  await keys.finish(first, answer);
  await keys.release(first);
  expect(await codeOf(use())).toBe('in_progress');
  await keys.finish(second, answer);
  await keys.release(second);
  expect(await codeOf(use())).toBe('replay');
});

describe('a claim that nobody ended', () => {
  test('is in progress for its lease, then unknown for a day, and never claimed again within it', async () => {
    await claim();
    nowMs += leaseMs - 1;
    expect(await codeOf(use())).toBe('in_progress');
    nowMs += 1;
    await expect(keys.claim(use())).rejects.toMatchObject({ code: 'conflict', status: 409, final: true });
    nowMs += idempotencyKeptMs - 1;
    await keys.purge();
    expect(await codeOf(use())).toBe('idempotency.unknown');
    nowMs += 1;
    expect(await codeOf(use())).toBe('claimed');
  });

  test('that ends after all, late, is known again', async () => {
    const mine = await claim();
    nowMs += leaseMs * 2;
    await keys.finish(mine, answer);
    expect(await codeOf(use())).toBe('replay');
  });
});

test('an answer is kept for a day from its end, then the key is free, purged or not', async () => {
  for (const purged of [false, true]) {
    const mine = await claim();
    nowMs += 30_000;
    await keys.finish(mine, answer);
    nowMs += idempotencyKeptMs - 1;
    await keys.purge();
    expect(await codeOf(use())).toBe('replay');
    nowMs += 1;
    if (purged) await keys.purge();
    expect(await queryAsOwner(db, 'SELECT id FROM idempotency_keys')).toHaveLength(purged ? 0 : 1);
    const again = await claim();
    await keys.release(again);
  }
});

test('an answer that is too large is not kept, and the call is not made twice for that', async () => {
  await keys.finish(await claim(), { ...answer, body: Buffer.alloc(idempotentAnswerBytesMax + 1) });
  await expect(keys.claim(use())).rejects.toMatchObject({ code: 'conflict', final: true });
  const fits = use('hello', { key: 'fits' });
  await keys.finish(await claim(fits), { ...answer, body: Buffer.alloc(idempotentAnswerBytesMax) });
  expect((await keys.claim(fits)).answer?.body).toHaveLength(idempotentAnswerBytesMax);
});

test('a refusal is kept for minutes: what the provider takes ill today it may take well when somebody has paid', async () => {
  const refusal = { ...answer, status: 400, body: Buffer.from('Your credit balance is too low.') };
  await keys.finish(await claim(), refusal);
  nowMs += idempotentRefusalKeptMs - 1;
  expect(await keys.claim(use())).toEqual({ claim: null, answer: refusal });
  nowMs += 1;
  expect(await codeOf(use())).toBe('claimed');
});

describe('the oldest answers of a project make room', () => {
  const scopes = [...['a', 'b', 'c', 'd'].map((each) => ({ key: each })), { projectId: 'prj_b', key: 'a' }];
  const standing = () => Promise.all(scopes.map((scope) => codeOf(use('hello', scope))));
  const gone = 'idempotency.not_kept';

  beforeEach(async () => {
    for (const scope of scopes) {
      nowMs += 1_000;
      await keys.finish(await claim(use('hello', scope)), { ...answer, body: Buffer.alloc(1_000) });
    }
  });

  test('beyond a number of bytes; their keys stay used, and other projects lose nothing', async () => {
    await makeRoom(db.pool, { answers: 100, bytes: 2_500 }, 1_000);
    expect(await standing()).toEqual([gone, gone, 'replay', 'replay', 'replay']);
  });

  test('beyond a number of answers, however few of them a statement drops', async () => {
    await makeRoom(db.pool, { answers: 1, bytes: 1e9 }, 1);
    expect(await standing()).toEqual([gone, gone, gone, 'replay', 'replay']);
    await makeRoom(db.pool, { answers: 0, bytes: 1e9 }, 1);
    expect(await standing()).toEqual(Array(5).fill(gone));
    await makeRoom(db.pool, { answers: 0, bytes: 1e9 }, 1);
  });

  test('past rows that somebody else is at work on', async () => {
    const other = await db.pool.connect();
    try {
      await other.query('BEGIN');
      await other.query(
        `SELECT FROM idempotency_keys WHERE project_id = 'prj_a' ORDER BY finished_at LIMIT 1 FOR UPDATE`,
      );
      await Promise.all([1, 2, 3].map(() => makeRoom(db.pool, { answers: 2, bytes: 1e9 }, 1)));
    } finally {
      await other.query('ROLLBACK');
      other.release();
    }
    expect(await standing()).toEqual(['replay', gone, 'replay', 'replay', 'replay']);
  });
});

test('no row says who used which key, nor what was answered', async () => {
  await keys.finish(await claim(use('canary-prompt', { key: 'canary-key' })), answer);
  const [row] = await queryAsOwner<{ text: string; answer: Buffer }>(
    db,
    'SELECT k::text AS text, answer FROM idempotency_keys k',
  );
  const text = `${row?.text} ${row?.answer.toString('latin1')} ${Buffer.from(row?.text ?? '', 'hex').toString('latin1')}`;
  expect(text).not.toMatch(/canary|agt_a|application/);
});

test('an answer that was changed, moved to another key, or sealed under another master key is not given out', async () => {
  await keys.finish(await claim(), answer);
  await keys.finish(await claim(use('hello', { key: 'two' })), answer);
  const [first, second] = [await codeOf(use()), await codeOf(use('hello', { key: 'two' }))];
  expect([first, second]).toEqual(['replay', 'replay']);
  expect(await codeOf(use(), open({ key: createSecretKey(randomBytes(32)) }))).toBe('idempotency.not_kept');
  await queryAsOwner(db, `UPDATE idempotency_keys a SET answer = b.answer FROM idempotency_keys b WHERE a.id <> b.id`);
  expect(await codeOf(use())).toBe('idempotency.not_kept');
  await queryAsOwner(db, `UPDATE idempotency_keys SET answer = set_byte(answer, 20, get_byte(answer, 20) # 1)`);
  expect(await codeOf(use('hello', { key: 'two' }))).toBe('idempotency.not_kept');
});

test('without its database nothing is claimed, and a claim in doubt does not stay', async () => {
  const link = await openFaultyLink(db.appUrl);
  const pool = createPool({ ...testBounds, connectionString: link.url });
  const far = open({ pool });
  try {
    await pool.query('SELECT 1');
    const heard = link.cutAfter('INSERT INTO idempotency_keys');
    await expect(far.claim(use())).rejects.toMatchObject({ code: 'unavailable', final: false });
    await heard;
    await expect.poll(() => queryAsOwner(db, 'SELECT id FROM idempotency_keys'), { timeout: 10_000 }).toEqual([]);
    link.cut();
    await expect(far.claim(use())).rejects.toMatchObject({ code: 'unavailable' });
  } finally {
    await pool.end();
    await link.close();
  }
});

test('a key that could not be given back is, once the database can be reached, but not past its lease', async () => {
  const link = await openFaultyLink(db.appUrl);
  const pool = createPool({ ...testBounds, connectionString: link.url });
  const far = open({ pool });
  try {
    const claims = [await claim(use(), far), await claim(use('hello', { key: 'two' }), far)];
    link.cut();
    await Promise.all(claims.map((each) => expect(far.release(each)).rejects.toBeInstanceOf(Error)));
    expect(await codeOf(use())).toBe('in_progress');
    link.mend();
    await expect.poll(() => queryAsOwner(db, 'SELECT id FROM idempotency_keys'), { timeout: 10_000 }).toEqual([]);
  } finally {
    await pool.end();
    await link.close();
  }
});

/**
 * Any number of callers, in any order, with crashes and time: an effect happens once for a key, unless it was given
 * back or a day went by.
 */
test('whatever happens, nobody is let through twice within the time of a key', async () => {
  const steps = fc.array(
    fc.oneof(
      fc.constant('ask' as const),
      fc.constant('finish' as const),
      fc.constant('release' as const),
      fc.constant('crash' as const),
      fc.constant('purge' as const),
      fc.integer({ min: 1, max: idempotencyKeptMs + leaseMs }),
    ),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (plan) => {
      await db.pool.query('DELETE FROM idempotency_keys');
      let held: Claim | null = null;
      let usedUntil = -Infinity;
      let wrong = false;
      for (const step of plan) {
        if (typeof step === 'number') nowMs += step;
        else if (step === 'purge') await keys.purge();
        else if (step === 'ask') {
          const claimed = await keys.claim(use()).catch(() => null);
          const letThrough = claimed !== null && claimed.claim !== null;
          wrong ||= letThrough !== nowMs >= usedUntil;
          if (letThrough) {
            held = claimed.claim;
            usedUntil = nowMs + leaseMs + idempotencyKeptMs;
          }
        } else if (held !== null) {
          if (step === 'finish' && nowMs < usedUntil) {
            await keys.finish(held, answer);
            usedUntil = nowMs + idempotencyKeptMs;
          }
          if (step === 'release') {
            await keys.release(held);
            usedUntil = -Infinity;
          }
          held = null;
        }
      }
      expect(wrong).toBe(false);
    }),
    { numRuns: 60 },
  );
});
