import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Answer, bearer, send } from './support/doors.ts';
import { startWebhookReceiver, type WebhookReceiver } from './support/endpoint-receiver.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { ed25519Signer, newKeyPair, signedHeaders } from './support/request-signer.ts';

const path = '/v1/webhooks/endpoints';
const json = { 'content-type': 'application/json' };

let gate: TestGate;
let receiver: WebhookReceiver;
beforeAll(async () => {
  receiver = await startWebhookReceiver();
  gate = await startGate({ env: { EGRESS_ALLOW_PRIVATE: receiver.hostAndPort } });
});
afterAll(async () => {
  await gate?.stop();
  await receiver?.stop();
});

function ask(method: string, at: string, body?: object | string, more: Record<string, string> = {}): Promise<Answer> {
  const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  const headers = { ...bearer(gate.adminKey), ...(body === undefined ? {} : json), ...more };
  return send(gate.url, { method, path: at, headers, ...sent });
}

const create = (more: object = {}) => ask('POST', path, { url: `${receiver.url}/rest`, ...more });

it('an endpoint is made, read, listed, changed and deleted as a resource', async () => {
  const made = await create({ description: 'one', event_types: ['run.failed'] });
  expect(made.status, made.text).toBe(201);
  const { endpoint, secret } = made.json;
  expect(secret).toMatch(/^whsec_/);
  const own = `${path}/${endpoint.id}`;
  expect([made.headers.location, made.headers.etag]).toEqual([own, `"${endpoint.etag}"`]);

  const verified = await vi.waitFor(
    async () => {
      const read = await ask('GET', own);
      expect(read.json.endpoint.state).toBe('WEBHOOK_ENDPOINT_STATE_ACTIVE');
      return read;
    },
    { timeout: 10_000 },
  );
  expect(verified.headers['content-type']).toMatch(/^application\/json/);
  expect(await ask('HEAD', own)).toMatchObject({ status: 200, text: '', headers: { etag: verified.headers.etag } });

  const changed = await ask(
    'PATCH',
    own,
    { description: null, rate_per_second: 7 },
    { 'if-match': verified.headers.etag! },
  );
  expect(changed.status, changed.text).toBe(200);
  expect(changed.json.endpoint).toMatchObject({ description: '', ratePerSecond: 7, eventTypes: ['run.failed'] });
  const late = await ask('PATCH', own, { ordered: true }, { 'if-match': verified.headers.etag! });
  expect([late.status, late.json.code]).toEqual([409, 'conflict']);

  const second = await create();
  const first = await ask('GET', `${path}?page_size=1`);
  expect(first.json.endpoints.map(({ id }: { id: string }) => id)).toEqual([second.json.endpoint.id]);
  const next = await ask('GET', `${path}?page_size=1&page_token=${first.json.nextPageToken}`);
  expect(next.json.endpoints.map(({ id }: { id: string }) => id)).toEqual([endpoint.id]);

  expect(await ask('DELETE', own)).toMatchObject({ status: 204, text: '' });
  expect((await ask('GET', own)).status).toBe(404);
  expect((await ask('DELETE', own)).status).toBe(404);
});

it('a refusal is a problem that names what is wrong', async () => {
  const cases: readonly [Answer, number, string][] = [
    [await create({ url: 'http://169.254.169.254/' }), 400, 'invalid_argument'],
    [await create({ urls: 'x' }), 400, 'invalid_argument'],
    [await create({ event_types: ['nothing.known'] }), 400, 'invalid_argument'],
    [await ask('POST', path, '[1]'), 400, 'invalid_argument'],
    [await ask('POST', path, '{"url":'), 400, 'invalid_argument'],
    [
      await ask('POST', path, 'url=x', { 'content-type': 'application/x-www-form-urlencoded' }),
      400,
      'invalid_argument',
    ],
    [await ask('POST', path, { url: 'x'.repeat(70_000) }), 413, 'payload_too_large'],
    [await ask('GET', `${path}?page_size=9999`), 400, 'invalid_argument'],
    [await ask('GET', `${path}?pagesize=1`), 400, 'invalid_argument'],
    [await ask('GET', `${path}/whe_none`), 404, 'not_found'],
    [await ask('PATCH', `${path}/whe_none`, {}), 400, 'invalid_argument'],
    [await ask('PATCH', `${path}/whe_none`, { ordered: true }), 404, 'not_found'],
    [await ask('PATCH', `${path}/whe_none`, { ordered: true }, { 'if-match': 'W/"1"' }), 400, 'invalid_argument'],
  ];
  for (const [answer, status, code] of cases) {
    expect([answer.status, answer.json?.code], answer.text).toEqual([status, code]);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.json.request_id).toBe(answer.headers['x-request-id']);
  }
});

it('methods that it does not have are told with those that it has', async () => {
  const all = 'GET, HEAD, POST';
  const one = 'GET, HEAD, PATCH, DELETE';
  for (const [method, at, allow] of [
    ['PUT', path, all],
    ['DELETE', path, all],
    ['PUT', `${path}/whe_x`, one],
  ] as const) {
    const answer = await ask(method, at, method === 'DELETE' ? undefined : {});
    expect([answer.status, answer.headers.allow, answer.json.status], `${method} ${at}`).toEqual([405, allow, 405]);
  }
  expect((await ask('GET', `${path}/whe_x/more`)).status).toBe(404);
});

it('rights are those of the methods: without a credential nothing, with webhooks:read no writes', async () => {
  const stranger = (method: string, at: string) =>
    send(gate.url, { method, path: at, headers: json, ...(method === 'POST' && { body: '{}' }) });
  for (const [method, at] of [
    ['GET', path],
    ['POST', path],
    ['GET', `${path}/x`],
    ['DELETE', `${path}/x`],
    ['PUT', path],
  ] as const) {
    const { status, headers } = await stranger(method, at);
    expect([status, headers['www-authenticate']], `${method} ${at}`).toEqual([401, 'Bearer']);
  }
  const reader = bearer((await gate.agent('reader', { scopes: ['webhooks:read'] })).secret);
  expect((await ask('GET', path, undefined, reader)).status).toBe(200);
  const refused = await ask('POST', path, { url: receiver.url }, reader);
  expect([refused.status, refused.json.code]).toEqual([403, 'insufficient_scope']);
  const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'other' });
  const foreign = await ask('GET', `${path}?project_id=${project.id}`, undefined, reader);
  expect([foreign.status, foreign.json.code]).toEqual([403, 'insufficient_scope']);
});

it('a write under an Idempotency-Key happens once, and its secret is not given again', async () => {
  const key = { 'idempotency-key': 'rest-once' };
  const body = { url: `${receiver.url}/once` };
  const first = await ask('POST', path, body, key);
  const second = await ask('POST', path, body, key);
  expect([first.status, second.status]).toEqual([201, 201]);
  expect(second.json).toEqual({ ...first.json, secret: '' });
  expect([first.headers['idempotency-replayed'], second.headers['idempotency-replayed']]).toEqual([undefined, 'true']);
  expect((await ask('POST', path, { url: `${receiver.url}/other` }, key)).status).toBe(422);
});

it('a key that must sign signs the request as it is sent here', async () => {
  const { keyId, secret } = await gate.agent('signer', { scopes: ['webhooks:write'], requireSignature: true });
  const { publicKey, privateKey } = newKeyPair();
  const { signingKey } = await gate.api<{ signingKey: { id: string } }>('AgentService/RegisterSigningKey', {
    keyId,
    algorithm: 'SIGNATURE_ALGORITHM_ED25519',
    publicKey,
  });
  const body = JSON.stringify({ url: `${receiver.url}/signed` });
  const plain = { ...json, ...bearer(secret) };
  expect((await ask('POST', path, body, bearer(secret))).status).toBe(401);
  const signed = await signedHeaders(ed25519Signer(signingKey.id, privateKey), {
    method: 'POST',
    url: gate.url + path,
    headers: plain,
    body,
  });
  const other = await send(gate.url, { method: 'POST', path, headers: signed, body: body.replace('signed', 'forged') });
  expect(other.status, other.text).toBe(401);
  const again = await signedHeaders(ed25519Signer(signingKey.id, privateKey), {
    method: 'POST',
    url: gate.url + path,
    headers: plain,
    body,
  });
  const taken = await send(gate.url, { method: 'POST', path, headers: again, body });
  expect(taken.status, taken.text).toBe(201);
});
