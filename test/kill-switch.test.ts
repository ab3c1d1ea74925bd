import { connect } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type LedgerRow, type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream, SeenRequest } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, clientsOf, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';

/** The kill switch, on every replica: new calls are refused, calls in flight end, and a release lets all go on. */

let gate: TestGate;
let replica: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

/** A call in flight ends about this soon; twice over for a busy machine. */
const soonMs = 2_500;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { RATE_LIMIT_ADMIN_PER_MINUTE: '1000' } }));
  replica = await startGate({ yaml: mockConfiguration(mock), database: gate.database });
  await mock.script({ model: 'claude-talks', tokens: 100_000, tokensPerSecond: 20 });
  await mock.script({ model: 'claude-silent', tokens: 100, stallAfter: 3 });
  await mock.script({ model: 'gpt-silent', tokens: 100, stallAfter: 3 });
  await mock.script({ model: 'gpt-never', never: true });
});

afterAll(async () => {
  await replica.stop();
  await stop();
});

afterEach(async () => {
  const { killSwitches = [] } = await gate.api<{ killSwitches?: { id: string }[] }>('PolicyService/ListKillSwitches');
  for (const { id } of killSwitches) await release(id);
});

async function engage(scope: string, value: string, by: TestGate = gate): Promise<string> {
  const { killSwitch } = await by.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
    scope: `KILL_SCOPE_${scope}`,
    value,
    reason: 'It ran amok',
  });
  return killSwitch.id;
}

async function release(killSwitchId: string): Promise<void> {
  await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId });
}

interface Caller {
  readonly agentId: string;
  readonly keyId: string;
  readonly runId: string;
  readonly secret: string;
}

let callers = 0;

async function caller(): Promise<Caller> {
  const made = await gate.agent(`agent-${callers++}`);
  const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'flow' }, made.secret);
  return { ...made, runId: run.id };
}

let calls = 0;

interface InFlight {
  readonly requestId: string;
  readonly dialect: keyof typeof doors;
  readonly model: string;
  readonly ended: Promise<RawAnswer>;
}

/** Calls under way in both dialects, both replicas, and all that a provider may be doing meanwhile. */
async function fly({ secret, runId }: Caller): Promise<InFlight[]> {
  const before = (await mock.requests()).length;
  const start = (through: TestGate, dialect: keyof typeof doors, model: string, stream: boolean): InFlight => {
    const requestId = `flight-${calls++}`;
    const headers = { authorization: `Bearer ${secret}`, 'x-portcullis-run': runId, 'x-request-id': requestId };
    const body = ask(model, { stream, max_tokens: 100_000 });
    return { requestId, dialect, model, ended: post(through, doors[dialect].path, body, headers) };
  };
  const flights = [
    start(gate, 'anthropic', 'claude-talks', true),
    start(replica, 'chat', 'claude-talks', true),
    start(replica, 'anthropic', 'claude-silent', true),
    start(gate, 'chat', 'gpt-silent', true),
    start(gate, 'anthropic', 'gpt-never', false),
    start(replica, 'chat', 'gpt-never', false),
  ];
  await mock.until((requests) => {
    const open = requests.slice(before);
    return (
      open.length === flights.length && open.every(({ model, chunksSent }) => model === 'gpt-never' || chunksSent > 2)
    );
  });
  return flights;
}

/** All of them end soon, in their dialect, with that code, and the provider's side ends too. */
async function expectEnded(flights: readonly InFlight[], code: string, message: RegExp): Promise<void> {
  const began = performance.now();
  const rows: LedgerRow[] = [];
  for (const { requestId, dialect, ended } of flights) {
    const { status, headers, body } = await ended;
    const streamed = headers['content-type']?.startsWith('text/event-stream') === true;
    const events = body.toString().split('\n\n');
    const told = streamed ? (events.at(-2) ?? '') : body.toString();
    expect(told).toContain(dialect === 'anthropic' ? `"error_code":"${code}"` : `"code":"${code}"`);
    expect(told).toMatch(message);
    expect(body.toString().match(/"error":\{/g)).toHaveLength(1);
    expect(body.toString()).not.toMatch(/message_stop|\[DONE\]/);
    expect(status === 200).toBe(streamed);
    expect(headers['x-should-retry']).toBe(streamed ? undefined : 'false');
    const row = await gate.ledgerRow(requestId);
    rows.push(row);
    expect(row).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_KILLED',
      errorClass: code,
      provenance: 'PROVENANCE_ESTIMATED',
    });
  }
  expect(performance.now() - began).toBeLessThan(soonMs);
  const attempts = new Set(rows.map(({ id }) => id));
  await expect
    .poll(async () =>
      (await openCalls()).filter(({ headers }) => attempts.has(new Map(headers).get('x-request-id') ?? '')),
    )
    .toEqual([]);
}

/** The requests that the provider is still busy with. */
async function openCalls(): Promise<SeenRequest[]> {
  return (await mock.requests()).filter(({ outcome }) => outcome === 'open');
}

const scopes: [string, (of: Caller) => string][] = [
  ['EVERYTHING', () => ''],
  ['PROJECT', () => ''],
  ['AGENT', ({ agentId }) => agentId],
  ['KEY', ({ keyId }) => keyId],
  ['RUN', ({ runId }) => runId],
  ['WORKFLOW', () => 'flow'],
];

describe.each(scopes)('the switch for %s', (scope, valueOf) => {
  test('ends the calls in flight, refuses new ones without a retry, and its release lets them through', async () => {
    const stopped = await caller();
    const flights = await fly(stopped);
    const killId = await engage(scope, valueOf(stopped), replica);
    await expectEnded(flights, 'killed', /Stopped by the kill switch for .*It ran amok/);

    const reached = (await mock.requests()).length;
    const headers = { 'x-portcullis-run': stopped.runId };
    const messages = [{ role: 'user' as const, content: 'hello' }];
    for (const through of [gate, replica]) {
      const { anthropic, openai } = clientsOf(through, stopped.secret);
      const byAnthropic = await anthropic.messages
        .create(
          { model: 'claude-1', max_tokens: 9, messages },
          { headers: { ...headers, 'x-request-id': `refused-${calls++}` } },
        )
        .catch((error: unknown) => error);
      expect(byAnthropic).toBeInstanceOf(Anthropic.InternalServerError);
      expect(byAnthropic).toMatchObject({ status: 503, message: expect.stringContaining('It ran amok') });
      const byOpenai = await openai.chat.completions
        .create(
          { model: 'gpt-1', messages, stream: true },
          { headers: { ...headers, 'x-request-id': `refused-${calls++}` } },
        )
        .catch((error: unknown) => error);
      expect(byOpenai).toBeInstanceOf(OpenAI.InternalServerError);
      expect(byOpenai).toMatchObject({ status: 503, code: 'killed', message: expect.stringContaining('It ran amok') });
    }
    // One row each: no SDK came a second time.
    for (let i = calls - 4; i < calls; i++) {
      expect(await gate.ledgerRow(`refused-${i}`)).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_KILLED', rule: killId });
    }
    expect(await mock.requests()).toHaveLength(reached);

    await release(killId);
    await expect
      .poll(async () => {
        const bearer = { authorization: `Bearer ${stopped.secret}`, ...headers };
        const answers = [gate, replica].map((through) => post(through, doors.chat.path, ask('gpt-1'), bearer));
        return (await Promise.all(answers)).map(({ status }) => status);
      })
      .toEqual([200, 200]);
  });
});

test('the switch for a model ends and refuses the calls of that model, and no others', async () => {
  const someone = await caller();
  const flights = await fly(someone);
  const claudes = flights.filter(({ model }) => model.startsWith('claude-'));
  const gpts = flights.filter(({ model }) => model.startsWith('gpt-'));
  const first = await engage('MODEL', 'claude-*');
  await expectEnded(claudes, 'killed', /the model claude-\*.*It ran amok/);
  const bearer = { authorization: `Bearer ${someone.secret}` };
  const statusOf = async (model: string) => (await post(gate, doors.anthropic.path, ask(model), bearer)).status;
  expect([await statusOf('claude-1'), await statusOf('gpt-1')]).toEqual([503, 200]);
  expect(new Set((await openCalls()).map(({ model }) => model))).toEqual(new Set(gpts.map(({ model }) => model)));
  await engage('MODEL', 'gpt-*');
  await expectEnded(gpts, 'killed', /It ran amok/);
  await release(first);
  expect([await statusOf('claude-1'), await statusOf('gpt-1')]).toEqual([200, 503]);
});

test('the switch for a model ends a call that only names it as a fallback', async () => {
  const { secret } = await caller();
  const before = (await mock.requests()).length;
  const bearer = { authorization: `Bearer ${secret}`, 'x-request-id': 'fallback' };
  const body = ask('claude-silent', { stream: true, fallbacks: [{ model: 'claude-spare' }] });
  const ended = post(gate, doors.anthropic.path, body, bearer);
  await mock.until((requests) => requests.length > before && (requests.at(-1)?.chunksSent ?? 0) > 2);
  await engage('MODEL', 'claude-spare');
  expect((await ended).body.toString()).toContain('"error_code":"killed"');
  expect(await gate.ledgerRow('fallback')).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_KILLED' });
});

test("the switch for an agent leaves another agent's calls alone", async () => {
  const [stopped, other] = [await caller(), await caller()];
  const others = await fly(other);
  const flights = await fly(stopped);
  await engage('AGENT', stopped.agentId);
  await expectEnded(flights, 'killed', /It ran amok/);
  expect(await openCalls()).toHaveLength(others.length);
  await engage('AGENT', other.agentId);
  await expectEnded(others, 'killed', /It ran amok/);
});

test('revoking the key ends its calls in flight, and refuses new ones', async () => {
  const revoked = await caller();
  const flights = await fly(revoked);
  await replica.api('AgentService/RevokeKey', { keyId: revoked.keyId });
  await expectEnded(flights, 'unauthenticated', /credential/);
  for (const through of [gate, replica]) {
    const answer = await post(through, doors.chat.path, ask('gpt-1'), { authorization: `Bearer ${revoked.secret}` });
    expect(answer.status).toBe(401);
  }
});

test('disabling the agent ends its calls in flight, and refuses new ones', async () => {
  const disabled = await caller();
  const flights = await fly(disabled);
  await gate.api('AgentService/DisableAgent', { agentId: disabled.agentId });
  await expectEnded(flights, 'unauthenticated', /credential/);
  const answer = await post(replica, doors.chat.path, ask('gpt-1'), { authorization: `Bearer ${disabled.secret}` });
  expect(answer.status).toBe(401);
});

test('a call whose body is still coming ends too', async () => {
  const slow = await caller();
  const { hostname, port } = new URL(gate.url);
  const head = [
    `POST ${doors.chat.path} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${slow.secret}`,
    'content-type: application/json',
    'content-length: 1000',
    'x-request-id: half',
  ];
  const socket = connect({ host: hostname, port: Number(port) });
  socket.write(`${head.join('\r\n')}\r\n\r\n{"model":`);
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  await inFlight(1);
  await engage('AGENT', slow.agentId);
  await expect.poll(() => text, { timeout: soonMs }).toMatch(/^HTTP\/1\.1 503 .*"code":"killed"/s);
  socket.destroy();
  expect(await gate.ledgerRow('half')).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_KILLED' });
});

/** Waits until so many calls hold a place in the first gate. */
async function inFlight(count: number): Promise<void> {
  await expect
    .poll(async () => {
      const metrics = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
      return /^calls_in_flight (\d+)$/m.exec(await metrics.text())?.[1];
    })
    .toBe(String(count));
}
