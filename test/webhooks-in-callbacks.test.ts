import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { githubHeaders, post } from './support/webhook-sender.ts';

/** Callbacks of senders that cannot sign: by a path of their own, and by what the sender says when it is asked. */

let gate: TestGate;
let sender: Server;
let agent: { secret: string };
let other: { secret: string };
/** What the sender says of its jobs; requests that it got. */
const jobs = new Map<string, { status: string; url?: string }>();
const asked: { path: string; key: string | undefined }[] = [];

beforeAll(async () => {
  sender = createServer((request, response) => {
    asked.push({ path: request.url ?? '', key: request.headers['x-api-key'] as string | undefined });
    const id = request.url?.split('/').at(-1) ?? '';
    // It never answers.
    if (id.startsWith('silent')) return;
    const job = jobs.get(id);
    response.statusCode = job ? 200 : 500;
    response.end(JSON.stringify({ success: true, response: { id, ...job } }));
  }).listen(0, '127.0.0.1');
  await once(sender, 'listening');
  const { port } = sender.address() as AddressInfo;
  gate = await startGate({
    yaml: `
webhooks:
  sources:
    shotstack: { scheme: shotstack, api_key: the-api-key, status_url: 'http://127.0.0.1:${port}/render/{id}' }
    signed: { scheme: github, secrets: [a secret that is long enough] }
`,
  });
  agent = await gate.agent('renderer', { scopes: ['runs:write', 'telemetry:write'] });
  other = await gate.agent('other', { scopes: ['runs:write'] });
});
afterAll(async () => {
  await gate?.stop();
  sender.close();
});

const startRun = async () =>
  (await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, agent.secret)).run.id;

async function callback(runId: string, more: object = {}): Promise<{ id: string; path: string }> {
  const made = await gate.api<{ callback: { id: string }; url: string }>(
    'WebhookEventService/CreateWebhookCallback',
    { source: 'shotstack', runId, ...more },
    agent.secret,
  );
  return { id: made.callback.id, path: made.url.replace(/^.*\/v1\/webhooks\//, '') };
}

interface Told {
  readonly level: string;
  readonly message: string;
  readonly data: string;
}

const toldOf = async (runId: string) =>
  (await gate.api<{ events: Told[] }>('RunService/ListRunEvents', { runId })).events;

const eventOf = async (eventId = '') =>
  (
    await gate.api<{ event: { state: string; note: string; callbackId: string } }>(
      'WebhookEventService/GetWebhookEvent',
      { eventId },
    )
  ).event;

test('a run is told what the sender says of the job, not what came by the path', async () => {
  const runId = await startRun();
  const { id, path } = await callback(runId);
  jobs.set('job-1', { status: 'failed' });
  const lie = JSON.stringify({
    type: 'edit',
    action: 'render',
    id: 'job-1',
    status: 'done',
    url: 'https://evil.example/x',
  });
  const answer = await post(gate, path, lie, {});
  expect(answer.status).toBe(202);
  await expect.poll(() => toldOf(runId), { timeout: 10_000 }).toHaveLength(1);
  const [told] = await toldOf(runId);
  expect(told).toMatchObject({ level: 'RUN_EVENT_LEVEL_ERROR', message: 'A job of shotstack is "failed".' });
  expect(JSON.parse(told?.data ?? '')).toMatchObject({ job: { id: 'job-1', status: 'failed', url: '' } });
  expect(told?.data).not.toContain('evil');
  expect(asked.at(-1)).toEqual({ path: '/render/job-1', key: 'the-api-key' });
  expect(await eventOf(answer.json.id)).toMatchObject({ state: 'WEBHOOK_EVENT_STATE_PROCESSED', callbackId: id });
  expect(await post(gate, path, lie, {})).toMatchObject({ status: 200, json: { id: answer.json.id, duplicate: true } });
});

test('a path tells of one job: the first that came by it, or the one that it was made for', async () => {
  for (const status of ['done', 'failed']) jobs.set(`job-${status}`, { status });
  const first = await callback(await startRun());
  const made = await callback(await startRun(), { jobId: 'job-failed' });
  expect((await post(gate, first.path, '{"id":"job-done","status":"done"}', {})).status).toBe(202);
  await expect
    .poll(
      async () =>
        (await gate.database.pool.query('SELECT job_id FROM webhook_callbacks WHERE id = $1', [first.id])).rows,
    )
    .toEqual([{ job_id: 'job-done' }]);
  for (const [path, body] of [
    [first.path, '{"id":"job-failed","status":"failed"}'],
    [made.path, '{"id":"job-done","status":"done"}'],
  ] as const) {
    const { json } = await post(gate, path, body, {});
    await expect.poll(async () => (await eventOf(json.id)).state, { timeout: 10_000 }).toBe('WEBHOOK_EVENT_STATE_DEAD');
    expect((await eventOf(json.id)).note).toBe('Its path is of another job, or is gone.');
  }
});

test('while the sender cannot be asked, or says otherwise, it is asked again', async () => {
  const runId = await startRun();
  const { path } = await callback(runId);
  const { json } = await post(gate, path, '{"id":"job-late","status":"done"}', {});
  await expect
    .poll(async () => (await eventOf(json.id)).note, { timeout: 10_000 })
    .toBe('The sender answered 500 when it was asked of the job.');
  jobs.set('job-late', { status: 'rendering' });
  await expect
    .poll(async () => (await eventOf(json.id)).note, { timeout: 20_000 })
    .toBe('The sender says that the job is "rendering".');
  expect(await toldOf(runId)).toEqual([]);
  jobs.set('job-late', { status: 'done', url: 'https://cdn.example/render.mp4' });
  await expect.poll(() => toldOf(runId), { timeout: 60_000 }).toHaveLength(1);
}, 90_000);

test.each(['{"status":"done"}', '{"id":"../../admin"}', '{"id":"a/b"}', 'none'])(
  '%s names no job, and nobody is asked',
  async (body) => {
    const { path } = await callback(await startRun());
    const before = asked.length;
    const { json } = await post(gate, path, body, {});
    await expect.poll(async () => (await eventOf(json.id)).state, { timeout: 10_000 }).toBe('WEBHOOK_EVENT_STATE_DEAD');
    expect((await eventOf(json.id)).note).toBe('It names no job.');
    expect(asked).toHaveLength(before);
  },
);

test('a path that is not one, of another source, or is over, takes nothing', async () => {
  const { id, path } = await callback(await startRun());
  const token = path.split('/')[1] ?? '';
  for (const [wrong, status] of [
    [`shotstack/${token.slice(0, -1)}`, 401],
    [`shotstack/${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`, 401],
    ['shotstack', 404],
    [`signed/${token}`, 404],
  ] as const)
    expect((await post(gate, wrong, '{"id":"job-1"}', {})).status, wrong).toBe(status);
  await gate.database.pool.query('UPDATE webhook_callbacks SET expires_at = now() WHERE id = $1', [id]);
  expect((await post(gate, path, '{"id":"job-1"}', {})).status).toBe(401);
  expect(await gate.settledLog()).not.toContain(token);
  const { rows } = await gate.database.pool.query('SELECT row_to_json(c) AS row FROM webhook_callbacks c');
  expect(JSON.stringify(rows)).not.toContain(token);
});

test('a sender that does not answer delays what others sent by nothing', async () => {
  const asking = () => asked.filter(({ path }) => path.includes('silent')).length;
  for (let n = 0; n < 25; n++) {
    const { path } = await callback(await startRun());
    expect((await post(gate, path, `{"id":"silent-${n}"}`, {})).status).toBe(202);
  }
  // As many as there are connections to one sender.
  await expect.poll(asking, { timeout: 10_000 }).toBeGreaterThanOrEqual(16);
  const body = '{"not":"asked"}';
  const secret = 'a secret that is long enough';
  const { json } = await post(gate, 'signed', body, githubHeaders(body, secret));
  const silent = async () => (await gate.database.pool.query('SELECT FROM webhook_event_jobs WHERE asks')).rowCount;
  await expect.poll(async () => (await eventOf(json.id)).state, { timeout: 10_000 }).toBe('WEBHOOK_EVENT_STATE_KEPT');
  expect(await silent()).toBe(25);
}, 60_000);

test('an agent makes paths for runs of its own alone, and of sources that cannot sign', async () => {
  const runId = await startRun();
  const make = (body: object, key: string) => gate.api('WebhookEventService/CreateWebhookCallback', body, key);
  await expect(make({ source: 'shotstack', runId }, other.secret)).rejects.toThrow('404');
  await expect(make({ source: 'shotstack' }, agent.secret)).rejects.toThrow('run_id is required');
  await expect(make({ source: 'signed', runId }, agent.secret)).rejects.toThrow('cannot sign');
  await expect(make({ source: 'none', runId }, agent.secret)).rejects.toThrow('cannot sign');
  await expect(make({ source: 'shotstack', runId, lifetime: '691200s' }, agent.secret)).rejects.toThrow('lifetime');
  const { callback: made } = await gate.api<{ callback: { id: string } }>('WebhookEventService/CreateWebhookCallback', {
    source: 'shotstack',
  });
  const { rows } = await gate.database.pool.query(`SELECT payload FROM audit_entries WHERE target = $1`, [made.id]);
  expect(rows).toHaveLength(1);
});
