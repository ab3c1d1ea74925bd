import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { type Answer, githubHeaders, hex, post, secrets, slackHeaders } from './support/webhook-sender.ts';

/** Webhooks that come in while things go wrong: processes that die, senders that are slow, configurations that change. */

const yamlWith = (secret: string, run: string) => `
webhooks:
  sources:
    github: { scheme: github, secrets: ['${secret}'], run: ${run} }
    slack: { scheme: slack, secrets: ['${secrets.slack}'] }
    small: { scheme: github, secrets: ['${secrets.github}'], body_bytes_max: 1000 }
`;

let gate: TestGate;
let agent: { secret: string };

beforeAll(async () => {
  gate = await startGate({ yaml: yamlWith(secrets.github, '/run') });
  agent = await gate.agent('worker', { scopes: ['runs:write', 'telemetry:write'] });
});
afterAll(() => gate?.stop());

const startRun = async () =>
  (await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, agent.secret)).run.id;

const stateOf = async (eventId = '') => {
  const { event } = await gate.api<{ event: { state: string } }>('WebhookEventService/GetWebhookEvent', { eventId });
  return event.state.replace('WEBHOOK_EVENT_STATE_', '').toLowerCase();
};

const toldOf = async (runId: string) =>
  (await gate.api<{ events: object[] }>('RunService/ListRunEvents', { runId })).events.length;

/** Writes another configuration, and waits until the gate has read it. */
async function reconfigure(yaml: string): Promise<void> {
  const before = gate.log.split('the configuration file was read again').length;
  writeFileSync(gate.configFile, yaml);
  process.kill(gate.pid, 'SIGHUP');
  await expect
    .poll(async () => (await gate.settledLog()).split('the configuration file was read again').length)
    .toBeGreaterThan(before);
}

test('what was accepted before kill -9 is processed by the next process, once', async () => {
  const runIds = [await startRun(), await startRun()];
  // Whoever tells a run of anything waits; whoever accepts a webhook does not.
  const holder = new Client({ connectionString: gate.database.ownerUrl });
  await holder.connect();
  await holder.query('BEGIN; LOCK TABLE run_events IN SHARE MODE');
  const accepted: Answer[] = [];
  for (const runId of runIds) {
    const body = JSON.stringify({ run: runId });
    accepted.push(await post(gate, 'github', body, githubHeaders(body)));
  }
  expect(accepted.map(({ status }) => status)).toEqual([202, 202]);
  const waiting = async () =>
    (
      await holder.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_locks WHERE relation = 'run_events'::regclass AND NOT granted`,
      )
    ).rows[0]?.n;
  // It is in the midst of processing when it dies.
  await expect.poll(waiting, { timeout: 10_000 }).toBeGreaterThanOrEqual(1);
  await gate.end('SIGKILL');
  await holder.query('ROLLBACK');
  await holder.end();
  await gate.start();
  for (const [at, runId] of runIds.entries()) {
    await expect.poll(() => stateOf(accepted[at]?.json.id), { timeout: 60_000 }).toBe('processed');
    expect(await toldOf(runId)).toBe(1);
    const body = JSON.stringify({ run: runId });
    expect((await post(gate, 'github', body, githubHeaders(body))).json).toMatchObject({
      duplicate: true,
      id: accepted[at]?.json.id,
    });
  }
}, 120_000);

describe('a body', () => {
  test('that is larger than its source may send is refused, whether it says so or not', async () => {
    const large = Buffer.alloc(1001, 'a');
    expect((await post(gate, 'small', large, githubHeaders(large))).status).toBe(413);
    expect((await post(gate, 'small', large.subarray(1), githubHeaders(large.subarray(1)))).status).toBe(202);
    const socket = connect(Number(new URL(gate.url).port), '127.0.0.1');
    socket.write(
      `POST /v1/webhooks/small HTTP/1.1\r\nhost: localhost\r\nx-hub-signature-256: sha256=${'0'.repeat(64)}\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    socket.write(`7d0\r\n${'a'.repeat(2000)}\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 /);
    socket.destroy();
  });

  test('that has no signature is answered before it was read', async () => {
    const socket = connect(Number(new URL(gate.url).port), '127.0.0.1');
    socket.write('POST /v1/webhooks/github HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 401 /);
    socket.destroy();
  });

  test('that comes a byte at a time ends with 408, and its connection with it', async () => {
    const socket = connect(Number(new URL(gate.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      `POST /v1/webhooks/github HTTP/1.1\r\nhost: localhost\r\nx-hub-signature-256: sha256=${'0'.repeat(64)}\r\ncontent-length: 1000\r\n\r\n`,
    );
    const drip = setInterval(() => socket.write('a'), 200);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    clearInterval(drip);
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 408 /);
    expect(answer.toString().toLowerCase()).toContain('connection: close');
    if (!socket.closed) await once(socket, 'close');
  }, 60_000);

  test('that is compressed is refused', async () => {
    expect((await post(gate, 'github', 'x', { ...githubHeaders('x'), 'content-encoding': 'gzip' })).status).toBe(400);
  });

  test('of bytes that are no text is kept as it came', async () => {
    const body = Buffer.from([0, 255, 254, 0, 10, 13]);
    const { json } = await post(gate, 'github', body, githubHeaders(body));
    const whole = await gate.api<{ body: string }>('WebhookEventService/GetWebhookEvent', { eventId: json.id });
    expect(Buffer.from(whole.body, 'base64')).toEqual(body);
  });
});

test('headers that are there twice are refused, of which one is right', async () => {
  const body = '{"twice":1}';
  const right = `sha256=${hex(secrets.github, body)}`;
  const socket = connect(Number(new URL(gate.url).port), '127.0.0.1');
  const signatures = [right, `sha256=${'0'.repeat(64)}`].map((one) => `x-hub-signature-256: ${one}\r\n`).join('');
  socket.write(
    `POST /v1/webhooks/github HTTP/1.1\r\nhost: localhost\r\n${signatures}content-length: ${body.length}\r\n\r\n${body}`,
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 401 /);
  socket.destroy();
});

test('secrets are rotated by changing the file: both hold while both are there', async () => {
  const next = 'another github secret, the next one';
  const outcomes = async () => {
    const statuses: number[] = [];
    for (const secret of [secrets.github, next]) {
      const body = JSON.stringify({ at: `${Date.now()} ${Math.random()}` });
      statuses.push((await post(gate, 'github', body, githubHeaders(body, secret))).status);
    }
    return statuses;
  };
  expect(await outcomes()).toEqual([202, 401]);
  await reconfigure(yamlWith(`${secrets.github}', '${next}`, '/run'));
  expect(await outcomes()).toEqual([202, 202]);
  await reconfigure(yamlWith(next, '/run'));
  expect(await outcomes()).toEqual([401, 202]);
  // What does not hold changes nothing.
  writeFileSync(gate.configFile, yamlWith('short', '/run'));
  process.kill(gate.pid, 'SIGHUP');
  await expect.poll(() => gate.settledLog()).toContain('a secret has 16 characters or more');
  expect(await outcomes()).toEqual([401, 202]);
  await reconfigure(yamlWith(secrets.github, '/run'));
}, 60_000);

test('a dead letter that is replayed is really processed, as the configuration says then', async () => {
  const runId = await startRun();
  const body = JSON.stringify({ run: 'run_of_nobody', right: { run: runId } });
  const { json } = await post(gate, 'github', body, githubHeaders(body));
  await expect.poll(() => stateOf(json.id), { timeout: 10_000 }).toBe('dead');
  const dead = await gate.api<{ events: { id: string }[] }>('WebhookEventService/ListWebhookEvents', {
    state: 'WEBHOOK_EVENT_STATE_DEAD',
    source: 'github',
  });
  expect(dead.events.map(({ id }) => id)).toContain(json.id);
  await gate.api('WebhookEventService/ReplayWebhookEvent', { eventId: json.id });
  await expect.poll(() => stateOf(json.id), { timeout: 10_000 }).toBe('dead');
  await reconfigure(yamlWith(secrets.github, '/right/run'));
  await gate.api('WebhookEventService/ReplayWebhookEvent', { eventId: json.id });
  await expect.poll(() => stateOf(json.id), { timeout: 10_000 }).toBe('processed');
  expect(await toldOf(runId)).toBe(1);
  await reconfigure(yamlWith(secrets.github, '/run'));
}, 60_000);

test('what a sender sends is no text of ours: neither the API nor the log carries its signs', async () => {
  const body = JSON.stringify({
    type: 'event_callback',
    event_id: 'e\u0000\u001b[2J\u202eid',
    event: { type: 'a\nb\u001b[31m' },
  });
  const { json, status } = await post(gate, 'slack', body, slackHeaders(body));
  expect(status).toBe(202);
  const { event } = await gate.api<{ event: { type: string; providerEventId: string } }>(
    'WebhookEventService/GetWebhookEvent',
    {
      eventId: json.id,
    },
  );
  expect(event.type).toBe('a\u{FFFD}b\u{FFFD}[31m');
  expect(event.providerEventId).toBe('e\u{FFFD}\u{FFFD}[2J\u{FFFD}id');
});
