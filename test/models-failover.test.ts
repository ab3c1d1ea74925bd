import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { type Client as Dialect, type Course, follow } from './support/failover.ts';
import { type LedgerRow, type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import type { ScriptInput } from './support/mock-upstream/script.ts';
import { ask, doors, mockConfiguration, nanoPerToken, post } from './support/models.ts';

/** A call that one target fails goes to another, or there again: as often as it may, and each attempt has its own books. */

let gate: TestGate;
let mock: MockUpstream;
let secret: string;
/** A provider that takes connections and never completes a TLS handshake. */
const silent = createServer();

/** Each test has models of its own, since a breaker remembers what became of them. */
const suites = 150;
let suite = 0;

function configuration(): string {
  const timeouts = { first_byte_ms: 500, idle_ms: 500 };
  const models: Record<string, object> = {};
  for (let n = 0; n < suites; n++) {
    for (const provider of ['claude', 'gpt']) {
      const first = { provider, model: `first-${n}`, timeouts };
      // Of weight 0 it is never the chosen one.
      const second = { provider, model: `second-${n}`, timeouts, weight: 0 };
      models[`one-${provider}-${n}`] = { targets: [first] };
      models[`pair-${provider}-${n}`] = { targets: [first, second] };
      models[`refuse-${provider}-${n}`] = { targets: [first, second], on_failure: 'refuse', attempts_max: 2 };
      models[`short-${provider}-${n}`] = { targets: [{ ...first, timeouts: { ...timeouts, total_ms: 900 } }] };
    }
    const [first, second] = ['first', 'second'].map((name) => ({ provider: 'gpt', model: `${name}-${n}`, timeouts }));
    const unpriced = { provider: 'unpriced', model: `unpriced-${n}`, weight: 0 };
    models[`unpriced-${n}`] = { targets: [first, unpriced, { ...second, weight: 0 }] };
    models[`only-unpriced-${n}`] = { targets: [first, unpriced] };
    models[`mixed-${n}`] = {
      targets: [
        { provider: 'gpt', model: `first-${n}`, timeouts },
        { provider: 'claude', model: `second-${n}`, timeouts, weight: 0 },
      ],
    };
  }
  models['slow-connection'] = {
    targets: [
      { provider: 'silent', timeouts: { connect_ms: 300 } },
      { provider: 'gpt', model: 'gpt-reached', weight: 0 },
    ],
  };
  models['wild-*'] = { targets: [{ provider: 'gpt' }] };
  const { port } = silent.address() as AddressInfo;
  const base = JSON.parse(mockConfiguration(mock, models)) as { providers: object };
  const provider = { kind: 'openai-compatible', base_url: `https://127.0.0.1:${port}`, allow_private: true };
  const unpriced = { kind: 'anthropic', base_url: mock.url, api_key: 'key-of-the-unpriced', allow_private: true };
  const silently = { ...provider, price: 'free' };
  return JSON.stringify({ ...base, providers: { ...base.providers, unpriced, silent: silently } });
}

beforeAll(async () => {
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  mock = await startMockUpstream();
  gate = await startGate({ yaml: configuration(), env: { RATE_LIMIT_ADMIN_PER_MINUTE: '1000' } });
  ({ secret } = await gate.agent('caller'));
});
afterAll(async () => {
  silent.close();
  await Promise.all([gate.stop(), mock.stop()]);
});
beforeEach(async () => {
  suite++;
  await mock.reset();
});

/** Calls a route of this test; `first` and `second` are what its targets do. */
async function call(kind: string, client: Dialect, scripts: { first?: ScriptInput; second?: ScriptInput }, rest = {}) {
  for (const [name, script] of Object.entries(scripts)) await mock.script({ ...script, model: `${name}-${suite}` });
  return follow({ gate, mock }, secret, client, `${kind}-${suite}`, rest);
}

const outcomes = (rows: readonly { readonly outcome: string; readonly errorClass?: string }[]) =>
  rows.map(({ outcome, errorClass = '' }) => `${outcome.replace('ATTEMPT_OUTCOME_', '')} ${errorClass}`.trim());

/** The rows of a call that a refusal ended: nobody waits until that is written. */
async function rowsOf({ headers }: Course['answer'], count: number): Promise<LedgerRow[]> {
  const rows = async () =>
    (await gate.ledger()).filter((row) => row.requestId === headers['x-request-id']).toReversed();
  await expect.poll(rows).toHaveLength(count);
  return rows();
}

const sides = [
  { client: 'anthropic', provider: 'claude' },
  { client: 'chat', provider: 'gpt' },
  { client: 'anthropic', provider: 'gpt' },
  { client: 'chat', provider: 'claude' },
] as const;

const inStream: Record<string, string> = {
  claude: 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
  gpt: 'data: {"error":{"message":"The server is overloaded","type":"server_error","code":null}}\n\n',
};

describe.each(sides)('a $client client of $provider', ({ client, provider }) => {
  const html = { status: 200, headers: { 'content-type': 'text/html' }, chunks: ['<h1>It works</h1>'] };
  const stream = { status: 200, headers: { 'content-type': 'text/event-stream' } };
  const failures: [string, ScriptInput, stream: boolean | null, outcome: string][] = [
    ...[408, 429, 500, 503, 529].map(
      (error) => [`says ${error}`, { error }, null, `FAILED http_${error}`] satisfies (typeof failures)[number],
    ),
    ['breaks the connection', { reset: true }, null, 'FAILED upstream_error'],
    ['never answers', { never: true }, null, 'TIMEOUT deadline_exceeded'],
    ['answers with a page', { reply: html }, null, 'FAILED upstream_error'],
    ['is cut after its head', { cutAfter: 0 }, null, 'FAILED upstream_error'],
    ['is cut in half', { cutAfter: 1 }, false, 'FAILED upstream_error'],
    ['fails in its first event', { reply: { ...stream, chunks: [inStream[provider] ?? ''] } }, true, 'FAILED'],
  ];

  test.each(
    failures.flatMap(([what, script, only, outcome]) =>
      [false, true]
        .filter((streamed) => only === null || only === streamed)
        .map((streamed) => [what, streamed ? 'a stream' : 'an answer', script, outcome] as const),
    ),
  )('whose first target %s gets %s of the second', async (_what, kind, first, outcome) => {
    const { answer, text, rows, seen } = await call(
      `pair-${provider}`,
      client,
      { first },
      { stream: kind === 'a stream' },
    );
    expect(answer.status).toBe(200);
    expect(answer.headers['portcullis-attempts']).toBe('2');
    expect(text).toContain('word1');
    expect(text).not.toContain('"error"');
    expect(seen.map(({ model }) => model)).toEqual([`first-${suite}`, `second-${suite}`]);
    expect(outcomes(rows)).toEqual([expect.stringContaining(outcome), 'SUCCESS']);
    expect(rows.map(({ modelServed }) => modelServed)).toEqual([`first-${suite}`, `second-${suite}`]);
    expect(rows[1]).toMatchObject({ provider, dialectIn: client, provenance: 'PROVENANCE_MEASURED' });
  });

  test.each([400, 401, 403, 404, 413, 422])('is told of a %i, which no other attempt would mend', async (error) => {
    const { answer, rows, seen } = await call(`pair-${provider}`, client, { first: { error } });
    expect(answer.status).toBe(error === 401 ? 502 : error);
    expect(answer.headers['portcullis-attempts']).toBeUndefined();
    expect([seen.length, outcomes(rows)]).toEqual([1, [`FAILED http_${error}`]]);
  });

  test('is told of what breaks once it has some of the answer', async () => {
    const first = { cutAfter: 4, tokens: 20 };
    const { answer, text, seen } = await call(`pair-${provider}`, client, { first }, { stream: true });
    expect(answer.status).toBe(200);
    expect(text).toMatch(/"error":\{.*\n\n$/);
    expect(seen).toHaveLength(1);
  });
});

describe('when all fails', () => {
  test.each(['anthropic', 'chat'] as const)(
    'a %s client gets the last refusal, and its SDK is told not to multiply it',
    async (client) => {
      const provider = client === 'chat' ? 'gpt' : 'claude';
      const scripts = { first: { error: 500 }, second: { error: 503, headers: { 'x-should-retry': 'true' } } };
      const { answer, rows, seen } = await call(`pair-${provider}`, client, scripts);
      expect(seen.map(({ model }) => model)).toEqual([`first-${suite}`, `second-${suite}`, `first-${suite}`]);
      expect(outcomes(rows)).toEqual(['FAILED http_500', 'FAILED http_503', 'FAILED http_500']);
      expect(answer.status).toBe(500);
      expect(answer.headers).toMatchObject({ 'portcullis-attempts': '3', 'x-should-retry': 'false' });
    },
  );

  test.each([true, false])('an error of ours is final as well (stream: %s)', async (stream) => {
    const scripts = { first: { reset: true }, second: { reset: true } };
    const { answer, rows } = await call('pair-gpt', 'chat', scripts, { stream });
    expect(answer.status).toBe(502);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(rows).toHaveLength(3);
  });

  test('no other target is tried where the route says so', async () => {
    const { answer, seen } = await call('refuse-gpt', 'chat', { first: { error: 503 } });
    expect(answer.status).toBe(503);
    expect(seen.map(({ model }) => model)).toEqual([`first-${suite}`, `first-${suite}`]);
  });

  test('a provider that says that trying again is of no use is believed', async () => {
    const first = { error: 503, headers: { 'x-should-retry': 'false' } };
    const { seen } = await call('pair-claude', 'anthropic', { first });
    expect(seen).toHaveLength(1);
  });
});

test('Retry-After is kept to', async () => {
  const first = { error: 429, times: 1, headers: { 'retry-after': '1' } };
  const { answer, seen } = await call('one-gpt', 'chat', { first });
  expect(answer.status).toBe(200);
  const [before, after] = seen;
  expect((after?.receivedAt ?? 0) - (before?.receivedAt ?? 0)).toBeGreaterThanOrEqual(1_000);
});

test('a Retry-After that the call has no time for ends it, as the provider said it', async () => {
  const first = { error: 429, headers: { 'retry-after': '2' } };
  const { answer, seen } = await call('short-gpt', 'chat', { first });
  expect(answer.status).toBe(429);
  expect(answer.headers['retry-after']).toBe('2');
  expect(answer.headers['x-should-retry']).not.toBe('false');
  expect(seen).toHaveLength(1);
});

test('all attempts together have the time of one call', async () => {
  const { answer, text, rows } = await call('short-gpt', 'chat', { first: { never: true } });
  // The second attempt has what the first one left of 0.9 s, and there is no third.
  expect(answer.status).toBe(504);
  expect(text).toMatch(/longer in all than 0\.9 s|did not begin its answer within 0\.5 s/);
  expect(rows.length).toBeLessThanOrEqual(2);
});

test('a connection that does not come to stand in time is given up', async () => {
  const { answer, rows } = await follow({ gate, mock }, secret, 'chat', 'slow-connection');
  expect(answer.status).toBe(200);
  expect(outcomes(rows)).toEqual(['TIMEOUT deadline_exceeded', 'SUCCESS']);
  expect(rows[0]).toMatchObject({ provider: 'silent', costNanousd: '0' });
});

test('what the other target cannot say is no reason to refuse the call', async () => {
  const { answer, seen } = await call('mixed', 'chat', { first: { error: 503, times: 1 } }, { logit_bias: { '5': 1 } });
  expect(answer.status).toBe(200);
  expect(seen.map(({ model }) => model)).toEqual([`first-${suite}`, `first-${suite}`]);
});

describe('a target whose price nobody knows, under a budget that counts money,', () => {
  const scripts = { first: { error: 503 } };
  const asPoor = async (kind: string) => {
    const { agentId, secret: poor } = await gate.agent(`counted-${suite}`);
    await gate.budget({ name: `counted-${suite}`, unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
    for (const [name, script] of Object.entries(scripts)) await mock.script({ ...script, model: `${name}-${suite}` });
    return follow({ gate, mock }, poor, 'chat', `${kind}-${suite}`);
  };

  test('is passed over for one that is known', async () => {
    const { answer, rows, seen } = await asPoor('unpriced');
    expect([answer.status, answer.headers['portcullis-attempts']]).toEqual([200, '2']);
    expect(seen.map(({ model }) => model)).toEqual([`first-${suite}`, `second-${suite}`]);
    expect(outcomes(rows)).toEqual(['FAILED http_503', 'SUCCESS']);
  });

  test('does not hide how the others failed', async () => {
    const { answer, rows } = await asPoor('only-unpriced');
    expect(answer.status).toBe(503);
    expect(new Set(outcomes(rows))).toEqual(new Set(['FAILED http_503']));
  });
});

describe('money', () => {
  test('of a failed attempt is free again before the next one holds any', async () => {
    const { agentId, secret: poor } = await gate.agent('poor');
    await gate.budget({ name: 'poor', unit: 'REQUESTS', limit: 1n, selector: { agentId } });
    await mock.script({ model: `first-${suite}`, error: 503 });
    const { answer, rows } = await follow({ gate, mock }, poor, 'chat', `pair-gpt-${suite}`);
    expect(answer.status).toBe(200);
    expect(outcomes(rows)).toEqual(['FAILED http_503', 'SUCCESS']);
    expect(await gate.standing('poor')).toEqual({ posted: 1n, held: 0n, remaining: 0n });
  });

  test('that is not there for another attempt ends the call', async () => {
    const { agentId, secret: poor } = await gate.agent('poorer');
    await gate.budget({ name: 'poorer', unit: 'REQUESTS', limit: 1n, selector: { agentId } });
    // It may have worked before it broke, so this attempt counts.
    await mock.script({ model: `first-${suite}`, reset: true });
    const { answer, text, seen } = await follow({ gate, mock }, poor, 'chat', `pair-gpt-${suite}`);
    expect(answer.status).toBe(429);
    expect(text).toContain('"code":"budget_exceeded"');
    expect(answer.headers).toMatchObject({ 'x-should-retry': 'false', 'portcullis-attempts': '2' });
    expect(outcomes(await rowsOf(answer, 2))).toEqual(['FAILED upstream_error', 'BUDGET budget_exceeded']);
    expect(seen).toHaveLength(1);
    expect(await gate.standing('poorer')).toEqual({ posted: 1n, held: 0n, remaining: 0n });
  });

  test('is counted for each attempt, and a budget has what the ledger has', async () => {
    const { agentId, secret: rich } = await gate.agent('rich');
    await gate.budget({ name: 'rich', unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
    await mock.script({ model: `first-${suite}`, reset: true });
    const { rows } = await follow({ gate, mock }, rich, 'anthropic', `pair-claude-${suite}`);
    const [lost, served] = rows.map(({ costNanousd }) => BigInt(costNanousd ?? '0'));
    expect(lost).toBeGreaterThan(50n * nanoPerToken.output);
    expect(await gate.standing('rich')).toMatchObject({ posted: (lost ?? 0n) + (served ?? 0n), held: 0n });
  });
});

describe('between two attempts', () => {
  const pausing = { error: 429, headers: { 'retry-after': '20' } };

  test('a kill switch ends the call', async () => {
    const { agentId, secret: doomed } = await gate.agent('doomed');
    await mock.script({ ...pausing, model: `first-${suite}` });
    const answer = follow({ gate, mock }, doomed, 'chat', `one-gpt-${suite}`);
    await mock.until((requests) => requests.some(({ outcome }) => outcome === 'finished'));
    await expect.poll(async () => (await gate.holds()).held).toBeUndefined();
    const kill = { scope: 'KILL_SCOPE_AGENT', value: agentId, reason: 'enough' };
    await gate.api('PolicyService/EngageKillSwitch', kill);
    const { answer: told, text, seen } = await answer;
    expect(told.status).toBe(503);
    expect(text).toContain('"code":"killed"');
    // The attempt ended as it did; what ended the call is a row of its own, and in the audit log.
    const rows = await rowsOf(told, 2);
    expect([outcomes(rows), seen.length]).toEqual([['FAILED http_429', 'KILLED killed'], 1]);
    expect(rows[1]).toMatchObject({ route: `one-gpt-${suite}`, costNanousd: '0' });
    const audited = () =>
      queryAsOwner(
        gate.database,
        `SELECT 1 FROM audit_entries WHERE action = 'call.denied' AND actor_id = '${agentId}'`,
      );
    await expect.poll(audited).toHaveLength(1);
  });

  test('a database that goes away ends the call, and its key and its client are free to try again', async () => {
    await mock.script({ error: 429, times: 1, headers: { 'retry-after': '1' }, model: `first-${suite}` });
    const ask_ = () =>
      post(gate, doors.chat.path, ask(`one-gpt-${suite}`), {
        authorization: `Bearer ${secret}`,
        'idempotency-key': `between-${suite}`,
      });
    const owner = new Client({ connectionString: gate.database.ownerUrl });
    await owner.connect();
    try {
      const answer = ask_();
      await mock.until((requests) => requests.some(({ outcome }) => outcome === 'finished'));
      await expect.poll(async () => (await gate.holds()).held).toBeUndefined();
      await owner.query('BEGIN');
      await owner.query('LOCK TABLE holds, idempotency_keys IN EXCLUSIVE MODE');
      const { status, headers } = await answer;
      expect([status, headers['x-should-retry']]).toEqual([503, undefined]);
    } finally {
      await owner.end();
    }
    await expect.poll(async () => (await ask_()).status, { timeout: 20_000 }).toBe(200);
    expect(await mock.requests()).toHaveLength(2);
  });

  test('a client that goes away ends the call', async () => {
    await mock.script({ ...pausing, model: `first-${suite}` });
    const client = new AbortController();
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${secret}` };
    const init = { method: 'POST', headers, body: ask(`one-gpt-${suite}`), signal: client.signal };
    const gone = fetch(gate.url + doors.chat.path, init).catch(() => 'gone');
    await mock.until((requests) => requests.some(({ outcome }) => outcome === 'finished'));
    client.abort();
    expect(await gone).toBe('gone');
    await expect.poll(async () => readGauge('calls_in_flight')).toBe(0);
    expect(await mock.requests()).toHaveLength(1);
    expect((await gate.holds()).held).toBeUndefined();
  });
});

test('a retry is not spent on a target that its own failures have shut', async () => {
  await mock.script({ model: `first-${suite}`, error: 503, latencyMs: 300 });
  const headers = { authorization: `Bearer ${secret}` };
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => post(gate, doors.chat.path, ask(`one-gpt-${suite}`), headers)),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
  expect(await readGauge(`upstream_retries_total{route="one-gpt-${suite}",result="over_budget"}`)).toBe(NaN);
});

test('an outage is not multiplied: a thousand calls make a bounded number of attempts', async () => {
  await mock.script({ error: 500 });
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, lane) => {
      const statuses = new Set<number>();
      for (let i = 0; i < 50; i++) {
        const body = ask(`wild-${lane}-${i}`);
        const { status } = await post(gate, doors.chat.path, body, { authorization: `Bearer ${secret}` });
        statuses.add(status);
      }
      return [...statuses];
    }),
  );
  expect(new Set(answers.flat())).toEqual(new Set([500]));
  // Each has a model and a breaker of its own: it is the budget of the route that bounds them.
  const made = (await mock.requests()).length;
  expect(made).toBeGreaterThan(1_100);
  expect(made).toBeLessThan(1_350);
  expect(await readGauge('upstream_retries_total{route="wild-*",result="made"}')).toBe(made - 1_000);
  expect(await readGauge('upstream_retries_total{route="wild-*",result="over_budget"}')).toBeGreaterThan(600);

  await mock.reset();
  await mock.script({ error: 500 });
  for (let i = 0; i < 1_000; i++)
    await post(gate, doors.chat.path, ask('wild-same'), { authorization: `Bearer ${secret}` });
  // One model has one breaker: of its calls hardly any reaches the provider.
  expect((await mock.requests()).length).toBeLessThan(30);
});

/** The value of a series at `/metrics`; NaN where there is none. */
async function readGauge(series: string): Promise<number> {
  const answer = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
  const line = (await answer.text()).split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? NaN);
}
