import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import {
  addEndpoint,
  deliveriesOf,
  emitExample,
  makeProjects,
  otherProjectId,
  projectId,
} from '../../../../test/support/webhook-endpoints.ts';
import { createLogger } from '../../base/log.ts';
import { inTransaction } from '../../pg/tx.ts';
import { claim } from './claim.ts';
import { whatIsDue } from './claim-store.ts';
import { fanOut } from './fan-out.ts';
import type { Attempt, Claimed } from './model.ts';
import { recordOutcomes } from './outcomes.ts';
import { requeue } from './requeue-store.ts';
import { giveUpStopped, purge } from './upkeep.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await makeProjects(db);
});
afterAll(() => db.drop());
beforeEach(async () => {
  for (const table of [
    'webhook_attempts',
    'webhook_deliveries',
    'outbox_events',
    'webhook_secrets',
    'webhook_endpoints',
  ])
    await queryAsOwner(db, `DELETE FROM ${table}`);
});

const url = 'https://receiver.example/';
const log = createLogger('silent');
const running = new AbortController().signal;
const delivered: Attempt = {
  outcome: 'delivered',
  startedAt: Date.now(),
  durationMs: 1,
  status: 200,
  error: null,
  answer: '',
  retryAfterMs: null,
};
const failed: Attempt = { ...delivered, outcome: 'failed', status: 500, error: 'status' };

const claimSome = (limit = 100, slow = false, claimMs = 60_000) => claim(db.pool, { slow, limit, claimMs });
const record = (claimed: readonly Claimed[], attempt: Attempt | null = delivered) =>
  recordOutcomes(
    db.pool,
    claimed.map((one) => ({ claimed: one, attempt })),
    () => 0.5,
    log,
  );
async function fanOutAll(): Promise<void> {
  while ((await fanOut(db.pool)) !== 'done');
}

test('workers that fan out at once make one delivery of each event for each endpoint', async () => {
  for (let at = 0; at < 5; at++) await addEndpoint(db, { url });
  await addEndpoint(db, { url, projectId: otherProjectId });
  for (let at = 0; at < 450; at++) await emitExample(db, 'run.started');
  await emitExample(db, 'kill.engaged', { projectId: null });
  await Promise.all(Array.from({ length: 4 }, fanOutAll));
  await fanOutAll();
  const [counts] = await queryAsOwner(
    db,
    `SELECT count(*)::int AS all, count(DISTINCT (event_id, endpoint_id))::int AS pairs FROM webhook_deliveries`,
  );
  expect(counts).toEqual({ all: 450 * 5 + 6, pairs: 450 * 5 + 6 });
  expect((await whatIsDue(db.pool)).events).toBe(false);
});

test('workers that claim at once share what is due: nothing twice, and no endpoint has more under way than it may', async () => {
  const endpoints = [await addEndpoint(db, { url }), await addEndpoint(db, { url })];
  for (let at = 0; at < 60; at++) await emitExample(db, 'run.started');
  await fanOutAll();
  const seen = new Set<string>();
  for (let left = 120; left > 0;) {
    const claims = await Promise.all(Array.from({ length: 4 }, () => claimSome()));
    const claimed = claims.flatMap((some) => some.claimed);
    for (const { id } of endpoints) {
      expect(claimed.filter(({ endpointId }) => endpointId === id).length).toBeLessThanOrEqual(16);
    }
    for (const { id } of claimed) {
      expect(seen.has(id)).toBe(false);
      seen.add(id);
    }
    // While all places are taken nothing is due.
    expect((await claimSome()).claimed).toEqual([]);
    expect((await whatIsDue(db.pool)).quick).toBe(false);
    await Promise.all([record(claimed.slice(0, 10)), record(claimed.slice(10))]);
    left -= claimed.length;
  }
  expect(seen.size).toBe(120);
  expect(await whatIsDue(db.pool)).toEqual({ events: false, quick: false, slow: false });
});

test('whatever becomes of attempts, deliveries of a key are made in order, none is lost and none waits for ever', async () => {
  const key = fc.constantFrom('a', 'b', undefined);
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant('emit' as const), key }),
      fc.record({
        do: fc.constant('work' as const),
        outcomes: fc.array(fc.constantFrom('ok', 'fail', 'dead', 'back', 'lose'), { minLength: 1 }),
      }),
      fc.record({ do: fc.constant('due' as const) }),
    ),
    { maxLength: 25 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (plan) => {
      for (const table of ['webhook_deliveries', 'outbox_events', 'webhook_endpoints'])
        await queryAsOwner(db, `DELETE FROM ${table === 'webhook_endpoints' ? 'webhook_secrets' : table}`);
      await queryAsOwner(db, 'DELETE FROM webhook_endpoints');
      const { id } = await addEndpoint(db, { url, ordered: true });
      const due = () =>
        queryAsOwner(
          db,
          `WITH d AS (UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending' AND next_at <> 'infinity')
           UPDATE webhook_endpoints SET next_due_at = now(), held_until = NULL`,
        );
      const done: string[] = [];
      const work = async (outcomes: readonly string[]) => {
        await fanOutAll();
        const claimed = [...(await claimSome()).claimed, ...(await claimSome(100, true)).claimed];
        for (const [at, one] of claimed.entries()) {
          const how = outcomes[at % outcomes.length];
          if (how === 'lose') continue;
          const [before] = await queryAsOwner<{ earlier: number }>(
            db,
            `SELECT count(*)::int AS earlier FROM webhook_deliveries d JOIN webhook_deliveries w
               ON d.endpoint_id = w.endpoint_id AND d.ordering_key = w.ordering_key AND d.seq < w.seq AND d.state = 'pending'
             WHERE w.id = $1`,
            [one.id],
          );
          expect(before?.earlier).toBe(0);
          if (how === 'dead') await queryAsOwner(db, 'UPDATE webhook_deliveries SET tries = 9 WHERE id = $1', [one.id]);
          const tries = how === 'dead' ? 9 : one.tries;
          await record([{ ...one, tries }], how === 'ok' ? delivered : how === 'back' ? null : failed);
          if (how === 'ok') done.push(one.id);
        }
      };
      for (const step of plan) {
        if (step.do === 'emit') await emitExample(db, 'run.started', step.key === undefined ? {} : { key: step.key });
        else if (step.do === 'work') await work(step.outcomes);
        else await due();
      }
      const pending = async () => (await deliveriesOf(db, id)).filter(({ state }) => state === 'pending');
      await fanOutAll();
      for (let round = 0; round < 30 && (await pending()).length > 0; round++) {
        await due();
        await work(['ok']);
      }
      expect(await pending()).toEqual([]);
      expect(new Set(done).size).toBe(done.length);
    }),
    { numRuns: 15 },
  );
});

test('an outcome under a claim that ended changes nothing of its delivery, and is written down all the same', async () => {
  const { id } = await addEndpoint(db, { url });
  await emitExample(db, 'run.started');
  await fanOutAll();
  const first = await claimSome(100, false, 0);
  await queryAsOwner(db, 'UPDATE webhook_endpoints SET next_due_at = now()');
  const second = await claimSome();
  expect(second.claimed.map((one) => one.id)).toEqual(first.claimed.map((one) => one.id));
  expect(await record(first.claimed, failed)).toMatchObject([{ counts: 'lost' }]);
  expect(await deliveriesOf(db, id)).toMatchObject([
    { state: 'pending', tries: 0, attempts: 1, claim: second.claimed[0]?.claim },
  ]);
  expect(await record(second.claimed)).toMatchObject([{ counts: 'delivered' }]);
  expect(await deliveriesOf(db, id)).toMatchObject([{ state: 'delivered', tries: 1, attempts: 2 }]);
});

test('redelivery makes the same deliveries due again on a new schedule, dead ones alone unless it says more', async () => {
  const { id } = await addEndpoint(db, { url, ordered: true });
  await addEndpoint(db, { url });
  for (let at = 0; at < 3; at++) await emitExample(db, 'run.started', { key: 'a' });
  await fanOutAll();
  await queryAsOwner(
    db,
    `UPDATE webhook_deliveries SET state = CASE WHEN seq % 3 = 0 THEN 'delivered' ELSE 'dead' END, tries = 10, attempts = 10,
       ended_at = now(), dead_reason = CASE WHEN seq % 3 = 0 THEN NULL ELSE 'exhausted' END`,
  );
  const all = {
    projectId,
    endpointId: id,
    ids: null,
    since: 0,
    until: Date.now() + 60_000,
    delivered: false,
    limit: 100,
  };
  const again = (more: Partial<Parameters<typeof requeue>[1]> = {}) =>
    inTransaction(db.pool, (tx) => requeue(tx, { ...all, ...more }));
  expect(await again({ projectId: otherProjectId })).toBe(0);
  expect(await again({ since: Date.now() + 1_000 })).toBe(0);
  expect(await again({ limit: 1 })).toBe(1);
  expect(await again()).toBe(1);
  expect(await again()).toBe(0);
  expect(await again({ delivered: true })).toBe(1);
  const deliveries = await deliveriesOf(db, id);
  expect(deliveries).toMatchObject(Array.from({ length: 3 }, () => ({ state: 'pending', tries: 0, attempts: 10 })));
  // None waits for another: what came after may have been delivered.
  expect((await claimSome()).claimed.filter(({ endpointId }) => endpointId === id)).toHaveLength(3);
});

test('what waits at endpoints that were disabled or deleted is given up, and what waits for verification stays', async () => {
  const [disabled, deleted, unverified] = [
    await addEndpoint(db, { url, ordered: true }),
    await addEndpoint(db, { url }),
    await addEndpoint(db, { url }),
  ];
  for (let at = 0; at < 5; at++) await emitExample(db, 'run.started', { key: 'a' });
  await fanOutAll();
  const state = (id: string, to: string) => queryAsOwner(db, `UPDATE webhook_endpoints SET ${to} WHERE id = $1`, [id]);
  await state(disabled.id, `state = 'disabled', disabled_at = now(), disabled_reason = 'operator'`);
  await state(deleted.id, `state = 'deleted'`);
  await state(unverified.id, `state = 'unverified'`);
  await giveUpStopped(db.pool, running);
  const statesOf = async (id: string) => [...new Set((await deliveriesOf(db, id)).map((one) => one.state))];
  expect(await statesOf(disabled.id)).toEqual(['dead']);
  expect(await statesOf(deleted.id)).toEqual(['dead']);
  expect(await statesOf(unverified.id)).toEqual(['pending']);
  expect(await queryAsOwner(db, 'SELECT id FROM webhook_endpoints WHERE next_due_at IS NOT NULL')).toEqual([
    { id: unverified.id },
  ]);
});

test('events are deleted with what became of them when they are old, unless something of them waits', async () => {
  await addEndpoint(db, { url });
  await emitExample(db, 'run.started');
  await fanOutAll();
  await record((await claimSome()).claimed);
  await emitExample(db, 'run.failed');
  await fanOutAll();
  await emitExample(db, 'key.created');
  const count = async () =>
    (await queryAsOwner(db, 'SELECT type FROM outbox_events ORDER BY seq')).map(({ type }) => type);
  await purge(db.pool, Date.now() + 29 * 86_400_000, running);
  expect(await count()).toHaveLength(3);
  await purge(db.pool, Date.now() + 31 * 86_400_000, running);
  expect(await count()).toEqual(['run.failed', 'key.created']);
  expect(await queryAsOwner(db, 'SELECT FROM webhook_attempts')).toEqual([]);
});
