import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { isSignedWith } from './support/endpoint-receiver.ts';
import { type Delivery, openWebhookDesk, type WebhookDesk } from './support/webhook-desk.ts';

let desk: WebhookDesk;
beforeAll(async () => {
  desk = await openWebhookDesk();
});
afterAll(() => desk?.stop());
beforeEach(() => desk.clear());

it('a test goes to one endpoint alone, whatever its filter, and its attempt is in the log', async () => {
  const { endpoint: own, secret } = await desk.active({ eventTypes: ['run.failed'] });
  await desk.active({ url: `${desk.receiver.url}/other` });
  const made = await desk.sendTest(own.id, 'key.created');
  await desk.delivered(made.id);
  const events = desk.receiver.events();
  expect(events.map(({ path, event }) => [path.split('?')[0], event.type])).toEqual([['/hook/s3cret', 'key.created']]);
  expect(events[0]!.headers['webhook-id']).toBe(made.eventId);
  expect(isSignedWith(secret, events[0]!)).toBe(true);
  const { body } = await desk.call<{ body: string }>('GetWebhookDelivery', { deliveryId: made.id });
  expect(body).toBe(events[0]!.body);
  const { attempts } = await desk.call<{ attempts: object[] }>('ListWebhookAttempts', { deliveryId: made.id });
  expect(attempts).toMatchObject([{ number: 1, status: 204, outcome: 'WEBHOOK_ATTEMPT_OUTCOME_DELIVERED', error: '' }]);
  expect(await desk.refusal('SendTestWebhook', { endpointId: own.id, eventType: 'no.type' })).toMatchObject({
    code: 'invalid_argument',
  });
});

it('one is made again under the same webhook-id, and its attempts are counted on', async () => {
  const { endpoint: own } = await desk.active();
  desk.receiver.answer = () => ({ status: 500, body: 'x'.repeat(5_000) });
  const made = await desk.sendTest(own.id);
  await desk.delivered(made.id, 'PENDING', 1);
  expect(await desk.refusal('RedeliverWebhook', { deliveryId: made.id })).toMatchObject({ code: 'conflict' });
  const { attempts } = await desk.call<{ attempts: { answer: string; status: number }[] }>('ListWebhookAttempts', {
    deliveryId: made.id,
  });
  expect(attempts[0]).toMatchObject({ status: 500, answer: expect.stringMatching(/^x{900,1000}/) });
  expect(attempts[0]!.answer.length).toBeLessThanOrEqual(1_001);
  desk.receiver.answer = null;
  await desk.delivered(made.id, 'DELIVERED', 2);
  await desk.call('RedeliverWebhook', { deliveryId: made.id });
  await desk.delivered(made.id, 'DELIVERED', 3);
  expect(new Set(desk.receiver.events().map(({ headers }) => headers['webhook-id']))).toEqual(new Set([made.eventId]));
});

it('dead letters are listed, and a span of them is made again, each once', async () => {
  const { endpoint: own } = await desk.active();
  const made = await Promise.all(Array.from({ length: 5 }, () => desk.sendTest(own.id)));
  for (const { id } of made) await desk.delivered(id);
  const some = made.slice(0, 3).map(({ id }) => id);
  await queryAsOwner(
    desk.gate.database,
    `UPDATE webhook_deliveries SET state = 'dead', dead_reason = 'exhausted' WHERE id IN (${some.map((id) => `'${id}'`).join()})`,
  );
  const listed = async (more: object) =>
    (await desk.call<{ deliveries: Delivery[] }>('ListWebhookDeliveries', { pageSize: 500, ...more })).deliveries.map(
      ({ id }) => id,
    );
  const dead = { state: 'WEBHOOK_DELIVERY_STATE_DEAD' };
  expect(new Set(await listed(dead))).toEqual(new Set(some));
  expect(new Set(await listed({ ...dead, endpointId: own.id }))).toEqual(new Set(some));
  expect(await desk.refusal('ListWebhookDeliveries', { state: 'WEBHOOK_DELIVERY_STATE_PENDING' })).toMatchObject({
    code: 'invalid_argument',
  });
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();
  const sinceTime = hoursAgo(2);
  const span = { endpointId: own.id, sinceTime };
  expect(await desk.call('RedeliverWebhooks', { ...span, untilTime: hoursAgo(1) })).toMatchObject({
    redelivered: 0,
  });
  expect(await desk.call('RedeliverWebhooks', span)).toEqual({ redelivered: 3, lastDeliveryId: '' });
  for (const id of some) await desk.delivered(id, 'DELIVERED', 2);
  expect(await desk.call('RedeliverWebhooks', { ...span, includeDelivered: true })).toMatchObject({ redelivered: 5 });
  for (const id of some) await desk.delivered(id, 'DELIVERED', 3);
  expect(await listed(dead)).toEqual([]);
});

it('are listed newest first in pages, and those of another project are not there', async () => {
  const { endpoint: own } = await desk.active();
  const made: Delivery[] = [];
  for (let count = 0; count < 5; count++) made.push(await desk.sendTest(own.id));
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = await desk.call<{ deliveries: Delivery[]; nextPageToken: string }>('ListWebhookDeliveries', {
      endpointId: own.id,
      pageSize: 2,
      pageToken,
    });
    seen.push(...page.deliveries.map(({ id }) => id));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  expect(seen).toEqual(made.map(({ id }) => id).toReversed());
  const { project } = await desk.gate.api<{ project: { id: string } }>('ProjectService/CreateProject', {
    name: `other ${own.id}`,
  });
  const { secret } = await desk.gate.api<{ secret: string }>('AgentService/CreateKey', {
    projectId: project.id,
    name: 'other',
    kind: 'PRINCIPAL_KIND_OPERATOR',
    scopes: ['webhooks:write'],
  });
  const named = { endpointId: own.id };
  const missing = { status: 404, code: 'not_found' };
  for (const method of [
    'GetWebhookEndpoint',
    'DeleteWebhookEndpoint',
    'RotateWebhookSecret',
    'VerifyWebhookEndpoint',
    'SendTestWebhook',
    'ListWebhookDeliveries',
  ])
    expect(await desk.refusal(method, named, secret), method).toMatchObject(missing);
  expect(
    await desk.refusal('RedeliverWebhooks', { ...named, sinceTime: '2026-01-01T00:00:00Z' }, secret),
  ).toMatchObject(missing);
  for (const method of ['GetWebhookDelivery', 'ListWebhookAttempts', 'RedeliverWebhook'])
    expect(await desk.refusal(method, { deliveryId: made[0]!.id }, secret), method).toMatchObject(missing);
  expect(await desk.call('ListWebhookDeliveries', {}, secret)).toMatchObject({ deliveries: [] });
});
