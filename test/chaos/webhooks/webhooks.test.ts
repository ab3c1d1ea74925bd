import { expect, test } from 'vitest';
import { createTestDatabase } from '../../support/database.ts';
import { tell } from './command.ts';
import { run } from './run.ts';

/** The smoke of the proof that no event is lost; `npm run chaos -- webhooks` is all of it. */
test('processes that deliver are killed with SIGKILL: every event is taken under one id, in order, and none is lost', async () => {
  const db = await createTestDatabase();
  const seed = Math.floor(Math.random() * 2 ** 31);
  const report = await run(db, { seed, kills: 6, progress: () => undefined });
  await db.drop();
  expect(report.violations, tell(report)).toEqual([]);
  expect(report.counts['events']).toBeGreaterThan(50);
  expect(report.counts['answered with 500']).toBeGreaterThan(0);
}, 180_000);
