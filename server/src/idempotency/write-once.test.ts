import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, createTestDatabase, queryAsOwner, testBounds } from '../../../test/support/database.ts';
import { type ErrorCode, PortcullisError } from '../base/errors.ts';
import { idempotencyKeptMs, idempotentRefusalKeptMs } from '../base/limits.ts';
import { createPool } from '../pg/pool.ts';
import { inRequest } from '../pg/request-scope.ts';
import { inTransaction } from '../pg/tx.ts';
import { Idempotency } from './service.ts';

/** Two replicas on one database, and writes whose effects are rows. */

let db: TestDatabase;
let nowMs = 1_800_000_000_000;
const key = createSecretKey(randomBytes(32));
let replicas: { readonly pool: Pool; readonly keys: Idempotency }[];

beforeAll(async () => {
  db = await createTestDatabase();
  await queryAsOwner(db, 'CREATE TABLE effects (name text)');
  await queryAsOwner(db, `GRANT ALL ON effects TO ${new URL(db.appUrl).username}`);
  replicas = [1, 2].map(() => {
    const pool = createPool({ ...testBounds, lockMs: 10_000, connectionString: db.appUrl });
    return { pool, keys: new Idempotency({ pool, key, now: () => nowMs, waitMs: 10_000 }) };
  });
});
afterAll(async () => {
  for (const { pool } of replicas) await pool.end();
  await db.drop();
});
beforeEach(() => queryAsOwner(db, 'TRUNCATE idempotency_keys, effects'));

type End = 'commits' | 'refuses' | 'fails' | 'crashes before the commit' | 'crashes after the commit';

interface Asked {
  readonly replica: 0 | 1;
  readonly name: string;
  readonly payload: string;
  readonly end: End;
}

/** What a client hears: an answer, the code of a refusal, or nothing. */
async function write({ replica, name, payload, end }: Asked): Promise<string> {
  const { pool, keys } = replicas[replica]!;
  const scope = { projectId: 'prj_a', principal: 'operator a', operation: 'Make', key: name };
  const effect = async (): Promise<Buffer> => {
    await inTransaction(pool, (tx) => tx.query('INSERT INTO effects VALUES ($1)', [`${name} ${payload}`]));
    if (end === 'refuses') throw new PortcullisError('conflict', 'Taken.');
    if (end === 'fails') throw new PortcullisError('unavailable', 'Not now.');
    // As the database sees the end of a process: the connection is gone in the middle.
    if (end === 'crashes before the commit') await pool.query('SELECT pg_terminate_backend(pg_backend_pid())');
    return Buffer.from(`made ${name} ${payload}`);
  };
  try {
    const done = await inRequest(pool, new AbortController().signal, () =>
      keys.once(scope, Buffer.from(payload), effect),
    );
    if (end === 'crashes after the commit') return 'nothing';
    return done.refusal === null ? done.answer.toString() : done.refusal.code;
  } catch (error) {
    return error instanceof PortcullisError ? error.code : 'nothing';
  }
}

const asked: fc.Arbitrary<Asked> = fc.record({
  replica: fc.constantFrom(0, 1),
  name: fc.constantFrom('one', 'two'),
  payload: fc.constantFrom('a', 'a', 'a', 'b'),
  end: fc.constantFrom<End[]>(
    'commits',
    'commits',
    'refuses',
    'fails',
    'crashes before the commit',
    'crashes after the commit',
  ),
});

const passing = ['nothing', 'unavailable', 'idempotency_mismatch'];

/** What of the answers to one key, whatever its payloads, cannot be true at once, nor with the effects that are there. */
function contradictions(
  name: string,
  heard: readonly { payload: string; answer: string }[],
  effects: string[],
): string[] {
  const final = new Set(heard.filter(({ answer }) => !passing.includes(answer)).map(({ answer }) => answer));
  const [said] = [...final];
  const found: string[] = [];
  if (effects.length > 1) found.push(`${name} happened ${effects.length} times`);
  if (final.size > 1) found.push(`${name} was answered with ${[...final].join(' and ')}`);
  if (said === 'conflict' && effects.length > 0) found.push(`${name} was refused, and happened`);
  if (said?.startsWith('made') && said !== `made ${effects[0]}`)
    found.push(`${name}: ${said}, and ${effects[0]} is there`);
  return found;
}

test('whatever is asked of whom at once, and dies where, an effect happens once and all answers agree', async () => {
  const round = fc.array(asked, { minLength: 1, maxLength: 6 });
  let no = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
      const run = ++no;
      const heard: { name: string; payload: string; answer: string }[] = [];
      const ask = async (one: Asked) => {
        const name = `${run} ${one.name}`;
        heard.push({ name, payload: one.payload, answer: await write({ ...one, name }) });
      };
      for (const together of rounds) await Promise.all(together.map(ask));
      // Whoever heard nothing, or should try again, does so; what was final stays as it was.
      for (const { replica, name, payload } of rounds.flat()) await ask({ replica, name, payload, end: 'commits' });
      for (const name of new Set(heard.map((each) => each.name))) {
        const rows = await queryAsOwner<{ name: string }>(db, 'SELECT name FROM effects WHERE starts_with(name, $1)', [
          name,
        ]);
        const effects = rows.map((row) => row.name);
        expect(
          contradictions(
            name,
            heard.filter((each) => each.name === name),
            effects,
          ),
        ).toEqual([]);
      }
    }),
    { numRuns: 60 },
  );
});

const once = (name = 'one', end: End = 'commits', payload = 'a') => write({ replica: 0, name, payload, end });

test.each<[ErrorCode, boolean]>([
  ['invalid_argument', true],
  ['insufficient_scope', true],
  ['policy_denied', false],
  ['not_found', true],
  ['conflict', true],
  ['unavailable', false],
  ['deadline_exceeded', false],
  ['rate_limited', false],
  ['budget_exceeded', false],
  ['cannot_verify', false],
  ['killed', false],
  ['client_closed', false],
  ['internal', false],
])('a refusal %s is kept: %s', async (code, kept) => {
  const { pool, keys } = replicas[0]!;
  const scope = { projectId: 'prj_a', principal: 'operator a', operation: 'Make', key: code };
  const ask = (effect: () => Promise<Buffer>) =>
    inRequest(pool, new AbortController().signal, () => keys.once(scope, Buffer.from('a'), effect));
  const refusal = new PortcullisError(code, 'Said once.', { rule: 'a.rule', param: 'name' });
  const first = await ask(() => Promise.reject(refusal)).catch((error: unknown) => ({
    refusal: error,
    isReplay: false,
  }));
  expect(first).toMatchObject({ refusal, isReplay: false });
  const second = kept ? { isReplay: true, refusal } : { isReplay: false, refusal: null };
  expect(await ask(async () => Buffer.from('made'))).toMatchObject(second);
});

test('whoever has waited for the first one in this process as long as for a lock is told to ask again', async () => {
  const { pool } = replicas[0]!;
  const keys = new Idempotency({ pool, key, now: () => nowMs, waitMs: 50 });
  const scope = { projectId: 'prj_a', principal: 'operator a', operation: 'Make', key: 'slow' };
  const first = Promise.withResolvers<Buffer>();
  const ask = (effect: () => Promise<Buffer>) =>
    inRequest(pool, new AbortController().signal, () => keys.once(scope, Buffer.from('a'), effect));
  const slow = ask(() => first.promise);
  const none = async () => Buffer.from('none');
  await expect(ask(none)).rejects.toMatchObject({ code: 'in_progress' });
  // Its client may leave before.
  const left = inRequest(pool, AbortSignal.abort(new Error('left')), () => keys.once(scope, Buffer.from('a'), none));
  await expect(left).rejects.toThrow('left');
  first.resolve(Buffer.from('made'));
  expect((await slow).answer?.toString()).toBe('made');
  expect(await ask(none)).toMatchObject({ isReplay: true, answer: Buffer.from('made') });
});

test('a refusal is kept for ten minutes, since what was in its way may be gone', async () => {
  expect(await once('one', 'refuses')).toBe('conflict');
  nowMs += idempotentRefusalKeptMs - 1;
  expect(await once('one', 'commits')).toBe('conflict');
  nowMs += 1;
  expect(await once('one', 'commits')).toBe('made one a');
});

test('a key is kept for a day and then deleted', async () => {
  await once();
  nowMs += idempotencyKeptMs - 1;
  await replicas[0]!.keys.purge();
  expect(await once('one', 'fails')).toBe('made one a');
  nowMs += 1;
  await replicas[0]!.keys.purge();
  expect(await queryAsOwner(db, 'SELECT FROM idempotency_keys')).toEqual([]);
  expect(await once('one', 'fails')).toBe('unavailable');
});

test('a row tells nobody what was asked, nor what was answered', async () => {
  await once('canary-key', 'commits', 'canary-secret');
  const [row] = await queryAsOwner<{ text: string; answer: Buffer }>(
    db,
    'SELECT k::text AS text, answer FROM idempotency_keys k',
  );
  expect(`${row?.text} ${row?.answer.toString('latin1')}`).not.toMatch(/canary|made/);
});

test('a write that did what cannot be committed leaves nothing', async () => {
  const { pool, keys } = replicas[0]!;
  const scope = { projectId: 'prj_a', principal: 'operator a', operation: 'Make', key: 'broken' };
  const asked = inRequest(pool, new AbortController().signal, () =>
    keys.once(scope, Buffer.from('a'), async () => {
      await pool.query('SELECT 1 / 0').catch(() => undefined);
      return Buffer.from('made');
    }),
  );
  await expect(asked).rejects.toThrow('current transaction is aborted');
  expect(await queryAsOwner(db, 'SELECT FROM idempotency_keys')).toEqual([]);
});
