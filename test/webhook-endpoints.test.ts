import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { endpointsPerProjectMax } from '../server/src/base/webhook-limits.ts';
import { queryAsOwner } from './support/database.ts';
import { bearer, send } from './support/doors.ts';
import { isSignedBy, isSignedWith } from './support/endpoint-receiver.ts';
import { type Endpoint, openWebhookDesk, soon, type WebhookDesk } from './support/webhook-desk.ts';

let desk: WebhookDesk;
beforeAll(async () => {
  desk = await openWebhookDesk();
});
afterAll(() => desk?.stop());
beforeEach(() => desk.clear());

describe('the challenge', () => {
  it('is signed with the new secret and by the new key, and makes its endpoint active once it is answered', async () => {
    const { endpoint: made, secret } = await desk.endpoint();
    expect(made).toMatchObject({
      state: 'WEBHOOK_ENDPOINT_STATE_UNVERIFIED',
      disabledReason: 'WEBHOOK_DISABLED_REASON_UNSPECIFIED',
    });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(made.publicKeys).toEqual([expect.stringMatching(/^whpk_[A-Za-z0-9+/]{43}=$/)]);
    const found = await desk.inState(made.id, 'ACTIVE');
    expect(found.challenge).toBeUndefined();
    const [challenge] = desk.receiver.received;
    expect(challenge!.event).toMatchObject({
      type: 'webhook.verification',
      data: { challenge: made.challenge!.id, endpoint_id: made.id },
    });
    expect(challenge!.headers['webhook-id']).toBe(made.challenge!.id);
    expect(isSignedWith(secret, challenge!)).toBe(true);
    expect(isSignedBy(made.publicKeys[0]!, challenge!)).toBe(true);
    expect(isSignedWith('whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', challenge!)).toBe(false);
  });

  it.each([
    ['another status', () => ({ status: 500, body: '' }), 'answered 500'],
    ['a redirect', () => ({ status: 302, location: 'https://example.com/' }), 'answered 302'],
    ['no echo', () => ({ status: 200, body: 'ok' }), 'does not have the challenge'],
    [
      'a mere reflection of the request',
      ({ body }: { body: string }) => ({ status: 200, body }),
      'does not have the challenge',
    ],
  ])('%s does not verify, and an endpoint that is not verified gets nothing', async (_what, answer, error) => {
    desk.receiver.answer = answer;
    const { endpoint: made } = await desk.endpoint();
    const found = await vi.waitFor(async () => {
      const now = await desk.read(made.id);
      expect(now.challenge?.error).toContain(error);
      return now;
    }, soon);
    expect(found).toMatchObject({ state: 'WEBHOOK_ENDPOINT_STATE_UNVERIFIED', challenge: { attempts: 1 } });
    expect(found.challenge?.nextAttemptTime).toBeDefined();
    expect(await desk.refusal('SendTestWebhook', { endpointId: made.id })).toMatchObject({ code: 'conflict' });
    await desk.gate.agent(`not told ${made.id}`);
    expect(desk.receiver.events()).toEqual([]);
  });

  it('is sent again when it is asked for, no sooner than some seconds after the last one', async () => {
    desk.receiver.answer = () => ({ status: 404 });
    const { endpoint: made } = await desk.endpoint();
    await vi.waitFor(async () => expect((await desk.read(made.id)).challenge?.attempts).toBe(1), soon);
    desk.receiver.answer = null;
    const { endpoint: asked } = await desk.call<{ endpoint: Endpoint }>('VerifyWebhookEndpoint', {
      endpointId: made.id,
    });
    expect(asked.challenge?.id).not.toBe(made.challenge?.id);
    expect(desk.receiver.received).toHaveLength(1);
    await desk.inState(made.id, 'ACTIVE');
    expect(desk.receiver.received).toHaveLength(2);
    expect(await desk.refusal('VerifyWebhookEndpoint', { endpointId: made.id })).toMatchObject({ code: 'conflict' });
  });
});

describe('the URL', () => {
  const metadata = 'http://169.254.169.254/latest/meta-data';
  const hostile = [
    'http://example.com/hook',
    'https://127.0.0.1/hook',
    'https://127.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://0177.0.0.1/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://localhost/',
    'https://localhost./',
    'https://10.0.0.1/',
    'https://192.168.1.1:8443/',
    'https://100.64.0.1/',
    'https://169.254.169.254/',
    metadata,
    'https://metadata.google.internal/',
    'https://user:password@example.com/',
    'https://example.com:22/',
    'ftp://example.com/',
    'file:///etc/passwd',
    'gopher://example.com/',
    'javascript:alert(1)',
    'https://example.com\r\nx: y/',
    'not a url',
  ];

  it('is refused at registration and at a change when it leads inside, in whatever notation, and nothing is sent', async () => {
    const { endpoint: own } = await desk.active();
    const urls = [
      ...hostile,
      desk.canary.url,
      desk.canary.url.replace('http:', 'https:'),
      desk.canary.url.replace('127.0.0.1', 'localhost'),
    ];
    for (const url of urls) {
      expect(await desk.refusal('CreateWebhookEndpoint', { url }), url).toMatchObject({
        status: 400,
        code: 'invalid_argument',
      });
      const change = { endpointId: own.id, updateMask: 'url', url };
      expect(await desk.refusal('UpdateWebhookEndpoint', change), url).toMatchObject({
        status: 400,
        code: 'invalid_argument',
      });
    }
    expect(await desk.read(own.id)).toEqual(own);
    expect(desk.canary.received).toEqual([]);
  });

  it('of a name that leads nowhere fails when it is asked, without telling an address', async () => {
    const { endpoint: made } = await desk.endpoint({ url: 'https://nowhere.invalid/hook' });
    const found = await vi.waitFor(async () => {
      const now = await desk.read(made.id);
      expect(now.challenge?.error).not.toBe('');
      return now;
    }, soon);
    expect(found.challenge?.error).not.toMatch(/\d+\.\d+\.\d+\.\d+/);
    expect(found.state).toBe('WEBHOOK_ENDPOINT_STATE_UNVERIFIED');
  });

  it('that is changed is verified anew, and gets nothing before', async () => {
    const { endpoint: own } = await desk.active();
    desk.receiver.answer = ({ path }) => (path === '/other' ? { status: 403 } : { status: 204 });
    const change = { endpointId: own.id, updateMask: 'url', url: `${desk.receiver.url}/other` };
    const { endpoint: changed } = await desk.call<{ endpoint: Endpoint }>('UpdateWebhookEndpoint', change);
    expect(changed.state).toBe('WEBHOOK_ENDPOINT_STATE_UNVERIFIED');
    await vi.waitFor(async () => expect((await desk.read(own.id)).challenge?.error).toContain('403'), soon);
    expect(await desk.refusal('SendTestWebhook', { endpointId: own.id })).toMatchObject({ code: 'conflict' });
    desk.receiver.answer = null;
    await desk.inState(own.id, 'ACTIVE');
  });

  it('is not in the audit log, but its host and who did it from where are', async () => {
    const { endpoint: own } = await desk.active();
    await desk.call('UpdateWebhookEndpoint', {
      endpointId: own.id,
      updateMask: 'description',
      description: 'for the pager',
    });
    await desk.call('RotateWebhookSecret', { endpointId: own.id });
    await desk.call('DeleteWebhookEndpoint', { endpointId: own.id });
    const rows = await queryAsOwner<{
      action: string;
      actor_kind: string;
      actor_id: string;
      payload: Record<string, unknown>;
    }>(
      desk.gate.database,
      `SELECT action, actor_kind, actor_id, payload FROM audit_entries WHERE target = '${own.id}' ORDER BY id`,
    );
    expect(rows.map(({ action }) => action)).toEqual(
      ['created', 'verified', 'updated', 'rotated', 'deleted'].map((done) => `webhook_endpoint.${done}`),
    );
    for (const { action, actor_kind: kind, payload } of rows) {
      expect(payload['host']).toBe(desk.receiver.hostAndPort);
      const isVerified = action === 'webhook_endpoint.verified';
      expect([kind, payload['address']]).toEqual(isVerified ? ['system', undefined] : ['operator', '127.0.0.1']);
    }
    expect(JSON.stringify(rows)).not.toMatch(/s3cret|t0ken|whsec_/);
    const kept = await queryAsOwner<{ url: string }>(
      desk.gate.database,
      `SELECT url FROM webhook_endpoints WHERE id = '${own.id}'`,
    );
    expect(kept).toEqual([{ url: desk.receiver.url }]);
  });
});

describe('secrets', () => {
  it('are shown once, and never read or listed', async () => {
    const { endpoint: own, secret } = await desk.active();
    const shown = JSON.stringify([await desk.read(own.id), await desk.call('ListWebhookEndpoints')]);
    expect(shown).not.toContain('whsec_');
    expect(shown).not.toContain(secret.slice(6));
    expect(await desk.gate.settledLog()).not.toContain(secret.slice(6));
  });

  it('are not given again with the answer that is repeated under an Idempotency-Key, and there is one endpoint', async () => {
    const path = '/portcullis.v1.WebhookService/CreateWebhookEndpoint';
    const headers = { ...bearer(desk.gate.adminKey), 'content-type': 'application/json', 'idempotency-key': 'once' };
    const body = JSON.stringify({ url: `${desk.receiver.url}/once` });
    const first = await send(desk.gate.url, { method: 'POST', path, headers, body });
    const second = await send(desk.gate.url, { method: 'POST', path, headers, body });
    expect(first.json.secret).toMatch(/^whsec_/);
    expect([second.json.endpoint.id, second.json.secret]).toEqual([first.json.endpoint.id, '']);
  });

  it('sign together after a rotation, the old one until its time is over, and not at all when it is ended at once', async () => {
    const { endpoint: own, secret: first } = await desk.active();
    const rotated = await desk.call<{ endpoint: Endpoint; secret: string }>('RotateWebhookSecret', {
      endpointId: own.id,
    });
    expect(rotated.endpoint.publicKeys).toHaveLength(2);
    const until = Date.parse(rotated.endpoint.oldSecretUntil ?? '') - Date.now();
    expect(until / 3_600_000).toBeCloseTo(24, 1);
    const both = await desk.sendTest(own.id);
    await desk.delivered(both.id);
    const sent = () => desk.receiver.events().at(-1)!;
    expect([first, rotated.secret].map((secret) => isSignedWith(secret, sent()))).toEqual([true, true]);
    for (const key of rotated.endpoint.publicKeys) expect(isSignedBy(key, sent())).toBe(true);
    expect(await desk.refusal('RotateWebhookSecret', { endpointId: own.id })).toMatchObject({ code: 'conflict' });

    await queryAsOwner(
      desk.gate.database,
      `UPDATE webhook_secrets SET expires_at = now() - interval '1 s' WHERE endpoint_id = '${own.id}' AND expires_at IS NOT NULL`,
    );
    await desk.delivered((await desk.sendTest(own.id)).id);
    expect([first, rotated.secret].map((secret) => isSignedWith(secret, sent()))).toEqual([false, true]);
    expect((await desk.read(own.id)).publicKeys).toEqual([rotated.endpoint.publicKeys[0]]);

    const last = await desk.call<{ secret: string }>('RotateWebhookSecret', { endpointId: own.id, endOldNow: true });
    await desk.delivered((await desk.sendTest(own.id)).id);
    expect([rotated.secret, last.secret].map((secret) => isSignedWith(secret, sent()))).toEqual([false, true]);
    const kept = await queryAsOwner(desk.gate.database, `SELECT FROM webhook_secrets WHERE endpoint_id = '${own.id}'`);
    expect(kept).toHaveLength(1);
  });
});

describe('an endpoint', () => {
  it('that is disabled gets nothing until it is enabled again', async () => {
    const { endpoint: own } = await desk.active();
    desk.receiver.answer = () => ({ status: 503 });
    const made = await desk.sendTest(own.id);
    await desk.delivered(made.id, 'PENDING', 1);
    const { endpoint: off } = await desk.call<{ endpoint: Endpoint }>('UpdateWebhookEndpoint', {
      endpointId: own.id,
      updateMask: 'disabled',
      disabled: true,
    });
    expect(off).toMatchObject({
      state: 'WEBHOOK_ENDPOINT_STATE_DISABLED',
      disabledReason: 'WEBHOOK_DISABLED_REASON_OPERATOR',
    });
    desk.receiver.answer = null;
    expect(await desk.refusal('RedeliverWebhook', { deliveryId: made.id })).toMatchObject({ code: 'conflict' });
    const { endpoint: on } = await desk.call<{ endpoint: Endpoint }>('UpdateWebhookEndpoint', {
      endpointId: own.id,
      updateMask: 'disabled',
    });
    expect(on.state).toBe('WEBHOOK_ENDPOINT_STATE_ACTIVE');
  });

  it('is changed from its etag alone, and what changes nothing leaves no trace', async () => {
    const { endpoint: own } = await desk.active();
    const change = {
      endpointId: own.id,
      updateMask: 'eventTypes,ratePerSecond',
      eventTypes: ['run.failed', 'run.started'],
      ratePerSecond: 5,
    };
    const { endpoint: changed } = await desk.call<{ endpoint: Endpoint }>('UpdateWebhookEndpoint', {
      ...change,
      etag: own.etag,
    });
    expect(changed).toMatchObject({ eventTypes: ['run.started', 'run.failed'], ratePerSecond: 5 });
    expect(await desk.refusal('UpdateWebhookEndpoint', { ...change, ratePerSecond: 6, etag: own.etag })).toMatchObject({
      code: 'conflict',
    });
    expect(await desk.refusal('DeleteWebhookEndpoint', { endpointId: own.id, etag: own.etag })).toMatchObject({
      code: 'conflict',
    });
    expect((await desk.call<{ endpoint: Endpoint }>('UpdateWebhookEndpoint', change)).endpoint).toEqual(changed);
    expect(
      await desk.refusal('UpdateWebhookEndpoint', {
        endpointId: own.id,
        updateMask: 'eventTypes',
        eventTypes: ['run.nothing'],
      }),
    ).toMatchObject({ code: 'invalid_argument' });
  });

  it('is one of so many in its project, however many are asked for at once', async () => {
    const asked = await Promise.allSettled(Array.from({ length: endpointsPerProjectMax + 5 }, () => desk.endpoint()));
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(endpointsPerProjectMax);
    expect(await desk.refusal('CreateWebhookEndpoint', { url: desk.receiver.url })).toMatchObject({ code: 'conflict' });
  });

  it('is read with webhooks:read and changed with webhooks:write', async () => {
    const { endpoint: own } = await desk.active();
    const reader = await desk.gate.agent(`reader ${own.id}`, { scopes: ['webhooks:read'] });
    const other = await desk.gate.agent(`other ${own.id}`, { scopes: ['runs:write'] });
    expect(await desk.call('GetWebhookEndpoint', { endpointId: own.id }, reader.secret)).toMatchObject({
      endpoint: { id: own.id },
    });
    expect(await desk.refusal('SendTestWebhook', { endpointId: own.id }, reader.secret)).toMatchObject({
      code: 'insufficient_scope',
    });
    expect(await desk.refusal('GetWebhookEndpoint', { endpointId: own.id }, other.secret)).toMatchObject({
      code: 'insufficient_scope',
    });
    const { eventTypes } = await desk.call<{ eventTypes: { type: string; schema: string; example: string }[] }>(
      'ListWebhookEventTypes',
      {},
      reader.secret,
    );
    expect(eventTypes.find(({ type }) => type === 'run.finished')).toMatchObject({
      schema: expect.stringContaining('"run.finished"'),
    });
  });
});
