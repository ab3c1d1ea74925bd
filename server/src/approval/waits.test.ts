import { afterAll, beforeAll, expect, test } from 'vitest';
import { testBounds } from '../../../test/support/database.ts';
import { createLogger } from '../base/log.ts';
import type { Principal } from '../identity/model.ts';
import { decisionOf, makeWorld, type World } from './testing/world.ts';
import { ApprovalWaits } from './waits.ts';

let world: World;
let ada: Principal;
let waits: ApprovalWaits;
const forever = new AbortController().signal;

beforeAll(async () => {
  world = await makeWorld();
  ada = await world.person('ada', ['approver']);
  waits = newWaits();
});
afterAll(async () => {
  await waits.stop();
  await world.db.drop();
});

function newWaits(): ApprovalWaits {
  const connection = { ...testBounds, connectionString: world.db.appUrl, applicationName: 'waits' };
  const made = new ApprovalWaits({ pool: world.pool, connection, log: createLogger('silent') });
  made.start();
  return made;
}

test('whoever waits is told when it is decided, and takes no connection meanwhile', async () => {
  const asked = await Promise.all(Array.from({ length: 30 }, () => world.asked()));
  const waiting = asked.map(({ id }) => waits.wait(id, forever, 60_000));
  // More wait than the pool has connections: none of them holds one.
  expect(world.pool.totalCount).toBeLessThanOrEqual(testBounds.max);
  for (const { id } of asked) await world.approvals.decide(decisionOf(ada, id));
  const told = await Promise.all(waiting);
  expect(told.map(({ state }) => state)).toEqual(asked.map(() => 'approved'));
});

test('nothing is lost between looking and listening', async () => {
  for (let round = 0; round < 30; round++) {
    const { id } = await world.asked();
    const [told] = await Promise.all([
      waits.wait(id, forever, 60_000),
      world.approvals.decide(decisionOf(ada, id, { action: 'reject' })),
    ]);
    expect(told.state).toBe('rejected');
  }
});

test('a lost connection costs a poll, not an answer', async () => {
  const { id } = await world.asked();
  const waiting = waits.wait(id, forever, 60_000);
  const { Client } = await import('pg');
  const owner = new Client({ connectionString: world.db.ownerUrl });
  await owner.connect();
  await owner.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'`);
  await owner.end();
  await world.approvals.decide(decisionOf(ada, id));
  expect((await waiting).state).toBe('approved');
});

test('whoever waits is told that nobody decided: when the time is up, and when the process stops', async () => {
  const { id } = await world.asked();
  expect((await waits.wait(id, forever, 50)).state).toBe('pending');
  const stopping = newWaits();
  const waiting = stopping.wait(id, forever, 60_000);
  await stopping.stop();
  expect((await waiting).state).toBe('pending');
});

test('whoever leaves waits no longer', async () => {
  const { id } = await world.asked();
  const leaving = new AbortController();
  const waiting = waits.wait(id, leaving.signal, 60_000);
  leaving.abort(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
});

test('what does not exist is not waited for, and nothing is left of those who waited', async () => {
  await expect(waits.wait('apr_none', forever, 60_000)).rejects.toThrow('no such approval');
  expect(waits.size).toBe(0);
});
