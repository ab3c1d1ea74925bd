import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, createTestDatabase, queryAsOwner } from '../../../../test/support/database.ts';
import { createLogger } from '../../base/log.ts';
import { createMetrics } from '../../base/metrics.ts';
import { keepAnswers } from './kept-answers.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

test('the response cache is purged while idempotency keys cannot be', async () => {
  let nowMs = 1_800_000_000_000;
  const options = { pool: db.pool, key: createSecretKey(randomBytes(32)), now: () => nowMs, waitMs: 0 };
  const { cache, purges } = keepAnswers(options, { metrics: createMetrics(), log: createLogger('silent') });
  await cache.keep('prj_a', Buffer.alloc(32), { status: 200, headers: {}, body: Buffer.from('x') }, 1_000);
  nowMs += 1_000;
  await queryAsOwner(db, 'ALTER TABLE idempotency_keys RENAME TO away');
  const ends = await Promise.allSettled(purges.map((purge) => purge.run()));
  expect(ends.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  expect(await queryAsOwner(db, 'SELECT FROM cache_entries')).toEqual([]);
});
