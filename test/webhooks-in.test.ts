import { randomBytes } from 'node:crypto';
import { createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RunService } from '../server/src/gen/portcullis/v1/run_pb.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { githubHeaders, post, secrets, slackHeaders, stripeHeaders } from './support/webhook-sender.ts';

/** Webhooks that come in, through gates as they are run: what is taken, what is refused, and who hears of it. */

const yaml = `
webhooks:
  sources:
    github: { scheme: github, secrets: ['${secrets.github}'], run: /run, headers: [x-build] }
    stripe: { scheme: stripe, secrets: ['${secrets.stripe}'] }
    slack: { scheme: slack, secrets: ['${secrets.slack}'] }
    standard: { scheme: standard-webhooks, secrets: ['${secrets.standard}'], seal: true }
    small: { scheme: github, secrets: ['${secrets.github}'], body_bytes_max: 1000 }
`;

let gate: TestGate;
let replica: TestGate;
let agent: { agentId: string; secret: string };

beforeAll(async () => {
  gate = await startGate({ yaml });
  replica = await startGate({ yaml, database: gate.database });
  agent = await gate.agent('worker', { scopes: ['runs:write', 'telemetry:write'] });
});
afterAll(async () => {
  await replica?.stop();
  await gate?.stop();
});

interface Event {
  readonly id: string;
  readonly state: string;
  readonly source: string;
  readonly type: string;
  readonly providerEventId: string;
  readonly runId?: string;
  readonly note: string;
  readonly attempts: number;
  readonly replays: number;
}

const startRun = async () =>
  (await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, agent.secret)).run.id;

const runEvents = async (runId: string) =>
  (await gate.api<{ events: { type: string; data: string }[] }>('RunService/ListRunEvents', { runId })).events;

const eventOf = async (eventId = '') =>
  (await gate.api<{ event: Event }>('WebhookEventService/GetWebhookEvent', { eventId })).event;

async function settled(eventId = ''): Promise<void> {
  const stateNow = async () => (await eventOf(eventId)).state;
  await expect.poll(stateNow, { timeout: 15_000 }).not.toBe('WEBHOOK_EVENT_STATE_PENDING');
}

const count = async (table: string, where = 'true') =>
  (await gate.database.pool.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table} WHERE ${where}`)).rows[0]?.n;

const unique = () => randomBytes(8).toString('hex');

describe('an event that names a run', () => {
  test('is told to whoever watches the run, with what it says', async () => {
    const runId = await startRun();
    const authorize: Interceptor = (next) => (request) => {
      request.header.set('authorization', `Bearer ${agent.secret}`);
      return next(request);
    };
    const transport = createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1', interceptors: [authorize] });
    const leaving = new AbortController();
    const watching = (async () => {
      for await (const { told } of createClient(RunService, transport).watchRun({ runId }, { signal: leaving.signal }))
        if (told.case === 'event') return told.value;
      return null;
    })();
    const body = JSON.stringify({ run: runId, action: 'completed' });
    const answer = await post(gate, 'github', body, githubHeaders(body));
    expect(answer).toMatchObject({ status: 202, json: { state: 'pending', duplicate: false } });
    const seen = await watching;
    leaving.abort();
    expect(seen).toMatchObject({ type: 'webhook.github', message: 'A webhook of github: push.' });
    expect(JSON.parse(seen?.data ?? '')).toMatchObject({
      webhook_event_id: answer.json.id,
      source: 'github',
      type: 'push',
      body: { run: runId, action: 'completed' },
    });
    await settled(answer.json.id);
    expect(await eventOf(answer.json.id)).toMatchObject({ state: 'WEBHOOK_EVENT_STATE_PROCESSED', runId, attempts: 1 });
    const listed = await gate.api<{ events: Event[] }>('WebhookEventService/ListWebhookEvents', { runId });
    expect(listed.events.map(({ id }) => id)).toEqual([answer.json.id]);
  });

  test('of another project, or of nobody, is dead at once and says why', async () => {
    const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: unique() });
    const { agent: other } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
      name: 'theirs',
      projectId: project.id,
    });
    const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', {
      workflow: 'w',
      agentId: other.id,
      projectId: project.id,
    });
    for (const id of [run.id, 'run_none']) {
      const body = JSON.stringify({ run: id, n: unique() });
      const { json } = await post(gate, 'github', body, githubHeaders(body));
      await settled(json.id);
      expect(await eventOf(json.id)).toMatchObject({
        state: 'WEBHOOK_EVENT_STATE_DEAD',
        note: `There is no run "${id}" in this project.`,
        attempts: 1,
      });
    }
    expect(await count('run_events', `run_id = '${run.id}'`)).toBe(0);
  });

  test('is told without its body where that is too large or too deep for a run', async () => {
    const runId = await startRun();
    for (const more of [
      `"a":"${'x'.repeat(20_000)}"`,
      `"a":${'['.repeat(5_000)}${']'.repeat(5_000)}`,
      // It is written anew, and is longer then.
      `"a":[${Array.from({ length: 2_000 }, () => '1e20').join()}]`,
    ]) {
      const body = `{"run":"${runId}",${more}}`;
      const { json } = await post(gate, 'github', body, githubHeaders(body));
      await settled(json.id);
      expect((await eventOf(json.id)).state).toBe('WEBHOOK_EVENT_STATE_PROCESSED');
    }
    const told = await runEvents(runId);
    expect(told.map(({ data }) => 'body' in (JSON.parse(data) as object))).toEqual([false, false, false]);
  });

  test('that does not is kept, and nothing else', async () => {
    for (const body of ['{"a":1}', '{"run":null}', '{"run":{"id":"x"}}', 'not JSON', '']) {
      const { json, status } = await post(gate, 'github', body, githubHeaders(body));
      expect(status, body).toBe(202);
      await settled(json.id);
      expect(await eventOf(json.id)).toMatchObject({ state: 'WEBHOOK_EVENT_STATE_KEPT', note: 'It names no run.' });
    }
  });
});

describe('what comes again', () => {
  test('10,000 times, at two replicas and under ever new unsigned ids, is processed once', async () => {
    const runId = await startRun();
    const body = JSON.stringify({ run: runId, once: unique() });
    const outcomes = new Map<string, number>();
    const ids = new Set<string | undefined>();
    let left = 10_000;
    const sender = async (at: TestGate) => {
      while (left-- > 0) {
        const { status, json } = await post(at, 'github', body, githubHeaders(body));
        outcomes.set(String(status), (outcomes.get(String(status)) ?? 0) + 1);
        ids.add(json.id);
      }
    };
    await Promise.all([gate, replica].flatMap((at) => Array.from({ length: 12 }, () => sender(at))));
    expect(Object.fromEntries(outcomes)).toEqual({ 200: 9_999, 202: 1 });
    expect(ids.size).toBe(1);
    const [id] = ids;
    await settled(id);
    expect(await runEvents(runId)).toHaveLength(1);
    expect(await count('webhook_events', `id = '${id}'`)).toBe(1);
    expect(await count('webhook_event_keys', `event_id = '${id}'`)).toBe(1);
    const again = await post(replica, 'github', body, githubHeaders(body));
    expect(again).toMatchObject({ status: 200, json: { id, state: 'processed', duplicate: true } });
  }, 240_000);

  test('under the id that its sender signed is known, with another body and another time too', async () => {
    const id = `evt_${unique()}`;
    const first = await post(gate, 'stripe', `{"id":"${id}","n":1}`, stripeHeaders(`{"id":"${id}","n":1}`));
    const second = await post(gate, 'stripe', `{"id":"${id}","n":2}`, stripeHeaders(`{"id":"${id}","n":2}`, 60));
    expect([first.status, second.status]).toEqual([202, 200]);
    expect(second.json.id).toBe(first.json.id);
    const message = `msg_${unique()}`;
    const sign = (messageId: string, body: string) => ({
      'webhook-id': messageId,
      'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
      'webhook-signature': new Webhook(secrets.standard).sign(messageId, new Date(), body),
    });
    const answers = [
      await post(gate, 'standard', '{"a":1}', sign(message, '{"a":1}')),
      await post(gate, 'standard', '{"a":2}', sign(message, '{"a":2}')),
      // Another event of the same words.
      await post(gate, 'standard', '{"a":1}', sign(`${message}x`, '{"a":1}')),
    ];
    expect(answers.map(({ status }) => status)).toEqual([202, 200, 202]);
  });

  test('more than five minutes later is refused, and so is what is of the future', async () => {
    for (const ageS of [301, 86_400, -302, -86_400]) {
      const body = JSON.stringify({ id: unique() });
      const answer = await post(gate, 'stripe', body, stripeHeaders(body, ageS));
      expect(answer).toMatchObject({ status: 401, json: { code: 'unauthenticated' } });
    }
  });
});

describe('a flood of forgeries', () => {
  test('neither keeps the genuine event out nor makes rows', async () => {
    const body = JSON.stringify({ forged: unique() });
    const before = await count('webhook_events');
    const keys = await count('webhook_event_keys');
    const delivery = unique();
    let left = 3_000;
    const forger = async () => {
      while (left-- > 0) {
        const forged = githubHeaders(body, 'another secret, made up', delivery);
        const path = left % 3 === 0 ? `made-up-${left}` : 'github';
        const { status } = await post(gate, path, body, left % 2 === 0 ? forged : { 'x-github-delivery': delivery });
        expect(status).toBe(path === 'github' ? 401 : 404);
      }
    };
    await Promise.all(Array.from({ length: 8 }, forger));
    const genuine = await post(gate, 'github', body, githubHeaders(body, secrets.github, delivery));
    expect(genuine.status).toBe(202);
    expect(await count('webhook_events')).toBe((before ?? 0) + 1);
    expect(await count('webhook_event_keys')).toBe((keys ?? 0) + 1);
    interface Refusal {
      readonly source: string;
      readonly signatureStatus: string;
      readonly reason: string;
      readonly count: string;
    }
    const told = () => gate.api<{ refusals: Refusal[] }>('WebhookEventService/ListWebhookRefusals');
    await expect
      .poll(async () => {
        const { refusals } = await told();
        return refusals
          .filter(({ source }) => source === '' || source === 'github')
          .reduce((sum, refusal) => sum + Number(refusal.count), 0);
      })
      .toBeGreaterThanOrEqual(3_000);
    // As many as there are reasons, sources and hours, of which one may have ended.
    const { refusals } = await told();
    expect(refusals.length).toBeLessThanOrEqual(20);
    expect(new Set(refusals.map(({ source }) => source).filter((source) => source.startsWith('made-up')))).toEqual(
      new Set(),
    );
    expect(refusals).toContainEqual(
      expect.objectContaining({ source: '', signatureStatus: 'WEBHOOK_SIGNATURE_STATUS_UNKNOWN_SOURCE' }),
    );
    expect(refusals).toContainEqual(
      expect.objectContaining({ source: 'github', signatureStatus: 'WEBHOOK_SIGNATURE_STATUS_MISSING' }),
    );
  }, 120_000);
});

describe('what is kept', () => {
  test('has no secret in its headers, only those on the list', async () => {
    const body = JSON.stringify({ kept: unique() });
    const canary = `canary-${unique()}`;
    const { json } = await post(gate, 'github', body, {
      ...githubHeaders(body),
      authorization: `Bearer ${canary}`,
      cookie: `session=${canary}`,
      'x-api-key': canary,
      'x-other': canary,
      'x-build': '77',
      'user-agent': 'GitHub-Hookshot/1',
    });
    const whole = await gate.api<{ headers: Record<string, string>; body: string }>(
      'WebhookEventService/GetWebhookEvent',
      {
        eventId: json.id,
      },
    );
    expect(Object.keys(whole.headers).sort()).toEqual([
      'content-type',
      'user-agent',
      'x-build',
      'x-github-delivery',
      'x-github-event',
    ]);
    expect(Buffer.from(whole.body, 'base64').toString()).toBe(body);
    const { rows } = await gate.database.pool.query(
      'SELECT row_to_json(e) AS row FROM webhook_events e WHERE id = $1',
      [json.id],
    );
    expect(JSON.stringify(rows)).not.toContain(canary);
    expect(await gate.settledLog()).not.toContain(canary);
  });

  test('is sealed where the source says so, and told to an admin as it came', async () => {
    const id = `msg_${unique()}`;
    const body = '{"person":"somebody with a name"}';
    const { json } = await post(gate, 'standard', body, {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
      'webhook-signature': new Webhook(secrets.standard).sign(id, new Date(), body),
    });
    const { rows } = await gate.database.pool.query<{ body: Buffer }>('SELECT body FROM webhook_events WHERE id = $1', [
      json.id,
    ]);
    expect(rows[0]?.body.includes('somebody')).toBe(false);
    const whole = await gate.api<{ body: string }>('WebhookEventService/GetWebhookEvent', { eventId: json.id });
    expect(Buffer.from(whole.body, 'base64').toString()).toBe(body);
    await settled(json.id);
    expect(await eventOf(json.id)).toMatchObject({ state: 'WEBHOOK_EVENT_STATE_KEPT', providerEventId: id });
  });

  test('is read by those alone who may', async () => {
    const body = JSON.stringify({ scoped: unique() });
    const { json } = await post(gate, 'github', body, githubHeaders(body));
    const reader = await gate.agent(`reader-${unique()}`, { scopes: ['webhooks:read'] });
    const listed = await gate.api<{ events: Event[] }>('WebhookEventService/ListWebhookEvents', {}, reader.secret);
    expect(listed.events.map(({ id }) => id)).toContain(json.id);
    for (const [method, request] of [
      ['GetWebhookEvent', { eventId: json.id }],
      ['ReplayWebhookEvent', { eventId: json.id }],
      ['ListWebhookRefusals', {}],
    ] as const)
      await expect(gate.api(`WebhookEventService/${method}`, request, reader.secret)).rejects.toThrow('403');
  });
});

describe('Slack', () => {
  test('is answered its challenge once it was verified, and nothing is kept of that', async () => {
    const body = JSON.stringify({ type: 'url_verification', challenge: `challenge-${unique()}` });
    const before = await count('webhook_events');
    expect(
      (await post(gate, 'slack', body, { ...slackHeaders(body), 'x-slack-signature': `v0=${'0'.repeat(64)}` })).status,
    ).toBe(401);
    expect((await post(gate, 'slack', body, {})).text).not.toContain('challenge-');
    const answer = await post(gate, 'slack', body, slackHeaders(body));
    expect(answer).toMatchObject({ status: 200, text: (JSON.parse(body) as { challenge: string }).challenge });
    expect(await count('webhook_events')).toBe(before);
  });
});

describe('replaying', () => {
  test('does it again, and the run has it once', async () => {
    const runId = await startRun();
    const body = JSON.stringify({ run: runId, n: unique() });
    const { json } = await post(gate, 'github', body, githubHeaders(body));
    await settled(json.id);
    await gate.api('WebhookEventService/ReplayWebhookEvent', { eventId: json.id });
    await settled(json.id);
    expect(await eventOf(json.id)).toMatchObject({ state: 'WEBHOOK_EVENT_STATE_PROCESSED', replays: 1, attempts: 1 });
    expect(await runEvents(runId)).toHaveLength(1);
    expect(await count('audit_entries', `action = 'webhook_event.replayed' AND target = '${json.id}'`)).toBe(1);
    await expect(gate.api('WebhookEventService/ReplayWebhookEvent', { eventId: 'inb_none' })).rejects.toThrow('404');
  });
});
