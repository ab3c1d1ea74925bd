import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { DeliveryTarget } from '../../../../test/support/delivery-target.ts';
import {
  addEndpoint,
  deliveriesOf,
  emitExample,
  makeProjects,
  startDeliverer,
} from '../../../../test/support/webhook-endpoints.ts';
import { deliveriesQuickMax, endpointQuickMax } from '../../base/webhook-limits.ts';

let db: TestDatabase;
let target: DeliveryTarget;
beforeAll(async () => {
  db = await createTestDatabase();
  await makeProjects(db);
  target = await DeliveryTarget.start();
});
afterAll(async () => {
  await target.stop();
  await db.drop();
});

test('endpoints that fill all places of a process with what they do not answer give them back to those that do', async () => {
  const held = Promise.withResolvers<void>();
  target.answer = ({ path }) => (path === '/well' ? {} : { after: held.promise });
  const engine = startDeliverer(db, [target.place], { timeoutMs: 120_000, claimMs: 240_000 });
  const silent = deliveriesQuickMax / endpointQuickMax + 1;
  for (let at = 0; at < silent; at++)
    await addEndpoint(db, { url: target.url(`/silent-${at}`), eventTypes: ['run.failed'] });
  for (let at = 0; at < endpointQuickMax; at++) await emitExample(db, 'run.failed');
  engine.deliverer.wake();
  await expect.poll(() => target.received.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(deliveriesQuickMax);
  const { id } = await addEndpoint(db, { url: target.url('/well'), eventTypes: ['run.started'] });
  for (let at = 0; at < 50; at++) await emitExample(db, 'run.started');
  engine.deliverer.wake();
  const delivered = async () => (await deliveriesOf(db, id)).filter(({ state }) => state === 'delivered').length;
  await expect.poll(delivered, { timeout: 40_000 }).toBe(50);
  // All of it while not one of the others had an answer.
  expect(engine.outcomes).toEqual(Array.from({ length: 50 }, () => 'delivered'));
  held.resolve();
  await engine.stop();
});
