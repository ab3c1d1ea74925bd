import { verify } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import {
  addEndpoint,
  addSecret,
  deliveriesOf,
  emitExample,
  makeDue,
  makeProjects,
  otherProjectId,
  startDeliverer,
  type TestDeliverer,
} from '../../../../test/support/webhook-endpoints.ts';
import { type Delivered, DeliveryTarget, verified } from '../../../../test/support/delivery-target.ts';
import { publicKeyObject } from '../../identity/signatures/public-key.ts';
import { exampleData } from '../../outbox/catalogue.ts';
import { giveUpStopped, purge } from './upkeep.ts';

/** For a busy machine. */
const soon = { timeout: 30_000 };
let db: TestDatabase;
let receiver: DeliveryTarget;
let engine: TestDeliverer;

beforeEach(async () => {
  db = await createTestDatabase();
  await makeProjects(db);
  receiver = await DeliveryTarget.start();
  engine = startDeliverer(db, [receiver.place]);
});
afterEach(async () => {
  await engine.stop();
  await receiver.stop();
  await db.drop();
});

const running = new AbortController().signal;
async function until(count: number) {
  await expect.poll(() => receiver.received.length, { timeout: 30_000 }).toBe(count);
}
const states = async (endpointId: string) => (await deliveriesOf(db, endpointId)).map(({ state }) => state);

/** Emits, and has the engine look at once: in the program the notification does. */
async function emit(...event: Parameters<typeof emitExample> extends [unknown, ...infer Rest] ? Rest : never) {
  await emitExample(db, ...event);
  engine.deliverer.wake();
}

/** Makes what waits due until nothing but `expected` is left of an endpoint. */
async function tryUntil(endpointId: string, ...expected: string[]) {
  await expect
    .poll(
      async () => {
        await makeDue(db);
        engine.deliverer.wake();
        return states(endpointId);
      },
      { timeout: 30_000 },
    )
    .toEqual(expected);
}

test('an event reaches each endpoint of its project that wants it, and the reference verifier takes it', async () => {
  const wants = await addEndpoint(db, { url: receiver.url('/a?b=c'), eventTypes: ['run.started', 'run.failed'] });
  const all = await addEndpoint(db, { url: receiver.url('/all') });
  await addEndpoint(db, { url: receiver.url('/other-type'), eventTypes: ['key.created'] });
  await addEndpoint(db, { url: receiver.url('/other-project'), projectId: otherProjectId });
  await emit('run.started');
  await until(2);
  const [first] = receiver.at('/a?b=c') as [Delivered];
  const [second] = receiver.at('/all') as [Delivered];
  expect(verified(wants.secret, first)).toMatchObject({ type: 'run.started', version: 1, project_id: 'prj_a' });
  expect(() => verified(all.secret, first)).toThrow('No matching signature');
  expect(second).toMatchObject({ id: first.id, body: first.body });
  expect(first.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Portcullis' });
  await expect.poll(() => states(all.id), soon).toEqual(['delivered']);
  expect(engine.outcomes).toEqual(['delivered', 'delivered']);
});

test('both generations of secrets sign during a rotation, HMAC and ed25519, and the old one no longer after it', async () => {
  const { id, secret: old, publicKey: oldPublic } = await addEndpoint(db, { url: receiver.url() });
  const { secret, publicKey } = await addSecret(db, id, 60_000);
  await emit('run.started');
  await until(1);
  const [during] = receiver.received as [Delivered];
  expect(verified(old, during)).toEqual(verified(secret, during));
  const signatures = String(during.headers['webhook-signature']).split(' ');
  expect(signatures.map((signature) => signature.split(',')[0])).toEqual(['v1', 'v1a', 'v1', 'v1a']);
  const signed = Buffer.from(`${during.id}.${String(during.headers['webhook-timestamp'])}.${during.body}`);
  for (const [at, key] of [publicKey, oldPublic].entries()) {
    const signature = Buffer.from(signatures[2 * at + 1]?.split(',')[1] ?? '', 'base64');
    expect(verify(null, signed, publicKeyObject(key), signature)).toBe(true);
    expect(verify(null, Buffer.concat([signed, signed]), publicKeyObject(key), signature)).toBe(false);
  }
  await queryAsOwner(db, 'UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL');
  await emit('run.started');
  await until(2);
  expect(() => verified(old, receiver.received[1]!)).toThrow('No matching signature');
  expect(verified(secret, receiver.received[1]!)).toMatchObject({ type: 'run.started' });
  await purge(db.pool, Date.now(), running);
  expect(await queryAsOwner(db, 'SELECT FROM webhook_secrets')).toHaveLength(1);
});

test('what fails is tried again on the schedule with the same id and body, ten times, and then is dead', async () => {
  const { id, secret } = await addEndpoint(db, { url: receiver.url() });
  receiver.answer = () => ({ status: 500, body: 'out of order\0' });
  await emit('run.started');
  await until(1);
  await expect
    .poll(async () => (await deliveriesOf(db, id))[0], soon)
    .toMatchObject({ state: 'pending', tries: 1, claim: null });
  const [waiting] = await deliveriesOf(db, id);
  expect(waiting?.due_in_s).toBeGreaterThan(0);
  expect(waiting?.due_in_s).toBeLessThanOrEqual(5);
  await tryUntil(id, 'dead');
  expect(await deliveriesOf(db, id)).toMatchObject([{ attempts: 10, dead_reason: 'exhausted' }]);
  expect(receiver.received).toHaveLength(10);
  expect(new Set(receiver.received.map((received) => received.id)).size).toBe(1);
  expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1);
  for (const received of receiver.received) verified(secret, received);
  expect(engine.outcomes).toEqual([...Array.from({ length: 9 }, () => 'retried'), 'dead']);
  const attempts = await queryAsOwner(db, 'SELECT * FROM webhook_attempts ORDER BY number');
  expect(attempts.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(attempts[0]).toMatchObject({ outcome: 'failed', status: 500, error: 'status', answer: 'out of order\uFFFD' });
});

test('a redirect is a failure and is not followed', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url('/moved') });
  receiver.answer = () => ({ status: 302, headers: { location: receiver.url('/elsewhere') } });
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(1);
  expect(receiver.received.map(({ path }) => path)).toEqual(['/moved']);
});

test('410 disables the endpoint with an audit entry; what waits for it is dead and nothing is sent any more', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url('/secret-path') });
  receiver.answer = () => ({ status: 500 });
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(1);
  receiver.answer = () => ({ status: 410 });
  await emit('run.failed');
  await expect.poll(() => states(id), soon).toEqual(['pending', 'dead']);
  expect(await queryAsOwner(db, 'SELECT state, disabled_reason FROM webhook_endpoints')).toEqual([
    { state: 'disabled', disabled_reason: 'gone' },
  ]);
  await giveUpStopped(db.pool, running);
  expect(await deliveriesOf(db, id)).toMatchObject([{ dead_reason: 'endpoint_disabled' }, { dead_reason: 'gone' }]);
  await emit('run.started');
  expect(await queryAsOwner(db, 'SELECT FROM outbox_events')).toHaveLength(2);
  const [audited] = await queryAsOwner(
    db,
    `SELECT target, payload FROM audit_entries WHERE action = 'webhook_endpoint.disabled'`,
  );
  expect(audited).toMatchObject({ target: id });
  expect(JSON.stringify(audited)).not.toContain('secret-path');
});

test('Retry-After holds back the whole endpoint, and nobody else', async () => {
  const busy = await addEndpoint(db, { url: receiver.url('/busy') });
  const other = await addEndpoint(db, { url: receiver.url('/other') });
  receiver.answer = ({ path }) => (path === '/busy' ? { status: 429, headers: { 'retry-after': '3600' } } : {});
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, busy.id))[0]?.tries, soon).toBe(1);
  expect((await deliveriesOf(db, busy.id))[0]?.due_in_s).toBeGreaterThan(3590);
  await emit('run.started');
  await expect.poll(() => states(other.id), soon).toEqual(['delivered', 'delivered']);
  expect(receiver.at('/busy')).toHaveLength(1);
});

test('an endpoint that does not answer takes no place of the others', async () => {
  await engine.stop();
  engine = startDeliverer(db, [receiver.place], { timeoutMs: 60_000, claimMs: 120_000 });
  const hangs = await addEndpoint(db, { url: receiver.url('/hangs'), eventTypes: ['run.failed'] });
  const well = await addEndpoint(db, { url: receiver.url('/well'), eventTypes: ['run.started'] });
  const held = Promise.withResolvers<void>();
  receiver.answer = ({ path }) => (path === '/hangs' ? { after: held.promise } : {});
  for (let at = 0; at < 100; at++) await emit('run.failed');
  await expect.poll(() => receiver.at('/hangs').length, soon).toBe(16);
  for (let at = 0; at < 100; at++) await emit('run.started');
  await expect
    .poll(async () => (await states(well.id)).filter((state) => state === 'delivered'), soon)
    .toHaveLength(100);
  // Not one of the others got an answer meanwhile.
  expect(receiver.at('/hangs')).toHaveLength(16);
  held.resolve();
  await expect
    .poll(async () => (await states(hangs.id)).every((state) => state === 'delivered'), { timeout: 30_000 })
    .toBe(true);
  expect(new Set(receiver.at('/hangs').map(({ id }) => id)).size).toBe(100);
});

test('an endpoint that fails has two deliveries under way, and is a quick one again once it answers well', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url() });
  receiver.answer = () => ({ status: 500 });
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(1);
  const held = Promise.withResolvers<void>();
  receiver.answer = () => ({ after: held.promise });
  for (let at = 0; at < 20; at++) await emit('run.failed');
  await until(3);
  const claimed = async () => (await deliveriesOf(db, id)).filter(({ claim }) => claim !== null).length;
  await expect.poll(claimed, soon).toBe(2);
  expect(await claimed()).toBe(2);
  receiver.answer = () => ({});
  held.resolve();
  await tryUntil(id, ...Array.from({ length: 21 }, () => 'delivered'));
  expect(await queryAsOwner(db, 'SELECT slow, failing_since FROM webhook_endpoints')).toEqual([
    { slow: false, failing_since: null },
  ]);
});

test('where an endpoint wants order, events of one key come one after the other, and other keys do not wait', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url(), ordered: true });
  receiver.answer = ({ body }) => ({ status: body.includes('first of a') ? 500 : 204 });
  const summary = (text: string) => ({ ...exampleData('run.finished'), summary: text });
  const tell = (key: string | undefined, text: string) =>
    emit('run.finished', { ...(key !== undefined && { key }), data: summary(text) as never });
  await tell('a', 'first of a');
  await tell('a', 'second of a');
  await tell('a', 'third of a');
  await tell('b', 'first of b');
  await tell('b', 'second of b');
  await tell(undefined, 'of no key');
  await expect
    .poll(() => states(id), soon)
    .toEqual(['pending', 'pending', 'pending', 'delivered', 'delivered', 'delivered']);
  expect((await deliveriesOf(db, id)).slice(1, 3).map(({ due_in_s }) => due_in_s)).toEqual([Infinity, Infinity]);
  await makeDue(db);
  engine.deliverer.wake();
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(2);
  expect(receiver.received.some(({ body }) => body.includes('second of a'))).toBe(false);
  receiver.answer = () => ({});
  await tryUntil(id, ...Array.from({ length: 6 }, () => 'delivered'));
  const ofA = receiver.received.map(({ body }) => /"(\w+) of a"/.exec(body)?.[1]).filter((text) => text !== undefined);
  expect(ofA).toEqual(['first', 'first', 'first', 'second', 'third']);
});

test('a key goes on once its first event is given up', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url(), ordered: true });
  await emit('run.started', { key: 'a' });
  await until(1);
  await expect.poll(() => states(id), soon).toEqual(['delivered']);
  let first = '';
  receiver.answer = (received) => ({ status: received.id === (first ||= received.id) ? 500 : 204 });
  await emit('run.failed', { key: 'a' });
  await emit('run.finished', { key: 'a' });
  await tryUntil(id, 'delivered', 'dead', 'delivered');
});

test('a claim that gets no outcome in time is made again, and what came late does not count', async () => {
  await engine.stop();
  engine = startDeliverer(db, [receiver.place], { claimMs: 500, timeoutMs: 60_000 });
  const { id } = await addEndpoint(db, { url: receiver.url() });
  const held = Promise.withResolvers<void>();
  receiver.answer = () => (receiver.received.length === 1 ? { status: 500, after: held.promise } : { status: 204 });
  await emit('run.started');
  await until(2);
  await expect.poll(() => states(id), soon).toEqual(['delivered']);
  held.resolve();
  await expect.poll(() => engine.outcomes, soon).toEqual(['delivered', 'lost']);
  expect(await deliveriesOf(db, id)).toMatchObject([{ state: 'delivered', attempts: 2 }]);
  expect(receiver.received[0]?.id).toBe(receiver.received[1]?.id);
});

test('an endpoint at which nothing succeeded for five days is disabled, and one that had a quiet time is not', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url() });
  receiver.answer = () => ({ status: 500 });
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(1);
  const state = () => queryAsOwner(db, 'SELECT state, disabled_reason AS reason FROM webhook_endpoints');
  const age = (since: string, last: string) =>
    queryAsOwner(
      db,
      `UPDATE webhook_endpoints SET failing_since = now() - interval '${since}', last_failure_at = now() - interval '${last}'`,
    );
  await age('6 days', '3 days');
  await makeDue(db);
  engine.deliverer.wake();
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(2);
  expect(await state()).toEqual([{ state: 'active', reason: null }]);
  await age('5 days 1 second', '1 day');
  await makeDue(db);
  engine.deliverer.wake();
  await expect.poll(state, soon).toEqual([{ state: 'disabled', reason: 'failing' }]);
});

test('an answer is read and kept in part, however large it is', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url() });
  receiver.answer = () => ({ status: 200, body: Buffer.alloc(50_000_000, 'é') });
  await emit('run.started');
  await expect.poll(() => states(id), { timeout: 20_000 }).toEqual(['delivered']);
  const [attempt] = await queryAsOwner<{ answer: string }>(db, 'SELECT answer FROM webhook_attempts');
  expect(attempt?.answer).toBe('é'.repeat(1_000));
});

test('nothing is sent to an address that is not public, whoever registered it', async () => {
  await engine.stop();
  engine = startDeliverer(db, []);
  const { id } = await addEndpoint(db, { url: receiver.url() });
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(1);
  expect(receiver.received).toEqual([]);
  expect(await queryAsOwner(db, 'SELECT status, error FROM webhook_attempts')).toMatchObject([{ status: null }]);
});

test('nothing goes unsigned: without a secret that can be opened the attempt fails', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url() });
  await queryAsOwner(db, `UPDATE webhook_secrets SET sealed = sealed || '\\x00'`);
  await emit('run.started');
  await expect.poll(async () => (await deliveriesOf(db, id))[0]?.tries, soon).toBe(1);
  expect(receiver.received).toEqual([]);
  expect(await queryAsOwner(db, 'SELECT error FROM webhook_attempts')).toEqual([{ error: 'unsigned' }]);
});

test('a rate is kept: no more deliveries are begun in a second than the endpoint takes', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url(), ratePerS: 5 });
  const came: number[] = [];
  receiver.answer = () => {
    came.push(performance.now());
    return {};
  };
  for (let at = 0; at < 12; at++) await emitExample(db, 'run.started');
  engine.deliverer.wake();
  await until(12);
  await expect.poll(() => states(id), soon).toEqual(Array.from({ length: 12 }, () => 'delivered'));
  // The sixth is in the second after the first five.
  expect(came[5]! - came[0]!).toBeGreaterThan(900);
  expect(came[10]! - came[0]!).toBeGreaterThan(1_900);
});

test('an end of the process breaks off what hangs and gives it back without an attempt', async () => {
  const { id } = await addEndpoint(db, { url: receiver.url() });
  receiver.answer = () => ({ after: new Promise(() => undefined) });
  await emit('run.started');
  await until(1);
  await engine.stop();
  expect(await deliveriesOf(db, id)).toMatchObject([{ state: 'pending', attempts: 0, claim: null }]);
  receiver.answer = () => ({});
  engine = startDeliverer(db, [receiver.place]);
  await tryUntil(id, 'delivered');
});

test('an event that concerns all projects reaches the endpoints of all', async () => {
  await addEndpoint(db, { url: receiver.url('/a') });
  await addEndpoint(db, { url: receiver.url('/b'), projectId: otherProjectId });
  await emit('kill.engaged', { projectId: null });
  await until(2);
  expect(receiver.received.map(({ path }) => path).sort()).toEqual(['/a', '/b']);
  expect(JSON.parse(receiver.received[0]!.body)).toMatchObject({ project_id: null });
});
