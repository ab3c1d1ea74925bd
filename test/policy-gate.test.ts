import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';

/** A policy as it meets calls: by the public API of a real gate, with calls through each of its doors. */

const scraperKey = 'scraper-key-of-the-policy-test-0123456789';

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({
    extend: (yaml) => {
      const { providers, ...configuration } = JSON.parse(yaml) as { providers: { gpt: object } };
      const { gpt } = providers;
      return JSON.stringify({
        ...configuration,
        providers: { ...providers, 'gpt-2': gpt, 'gpt-3': gpt, 'gpt-4': gpt },
      });
    },
    env: { METRICS_API_KEY: scraperKey },
    models: {
      'both-1': { targets: [{ provider: 'claude' }, { provider: 'gpt' }] },
      'many-1': { targets: ['gpt', 'gpt-2', 'gpt-3', 'gpt-4'].map((provider) => ({ provider })) },
      'first-fails-1': { targets: [{ provider: 'claude' }, { provider: 'gpt', weight: 0 }], attempts_max: 3 },
    },
  }));
});
afterAll(() => stop());
beforeEach(() => setPolicy([]));

interface RuleWords {
  readonly name: string;
  readonly condition?: string;
  readonly effect?: string;
  readonly mode?: string;
  readonly actions?: readonly string[];
  readonly approval?: object;
}

function rule({ name, condition = 'true', effect = 'DENY', mode = 'ENFORCE', ...more }: RuleWords): object {
  return {
    name,
    actions: ['models.invoke'],
    condition,
    effect: `RULE_EFFECT_${effect}`,
    mode: `RULE_MODE_${mode}`,
    ...more,
  };
}

interface Answer {
  readonly state: { readonly etag: string; readonly versionInForce?: number; readonly versionInShadow?: number };
  readonly version: { readonly version: number; readonly digest: string };
}

async function etag(of = gate): Promise<string> {
  return (await of.api<Answer>('PolicyService/GetPolicy')).state.etag;
}

async function setPolicy(rules: readonly object[], more: object = {}, stage = 'ENFORCED'): Promise<Answer> {
  return gate.api<Answer>('PolicyService/SetPolicy', {
    document: { rules, ...more },
    stage: `POLICY_STAGE_${stage}`,
    etag: await etag(),
  });
}

async function call(secret: string, body = ask('claude-1'), path: string = doors.anthropic.path, headers = {}) {
  const answer = await post(gate, path, body, { authorization: `Bearer ${secret}`, ...headers });
  return { ...answer, json: JSON.parse(answer.body.toString()) as Record<string, never> };
}

async function metric(name: string): Promise<number> {
  const answer = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${scraperKey}` } });
  const line = (await answer.text()).split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

describe('a call that a rule denies', () => {
  let secret: string;
  beforeAll(async () => void ({ secret } = await gate.agent('denied')));

  test.each([
    ['Messages', '/v1/messages', ask('claude-1')],
    ['Chat Completions', '/v1/chat/completions', ask('gpt-1')],
    ['Responses', '/v1/responses', JSON.stringify({ model: 'gpt-1', input: 'hi', store: false })],
    ['token counting', '/v1/messages/count_tokens', ask('claude-1')],
    ['embeddings', '/v1/embeddings', JSON.stringify({ model: 'gpt-1', input: 'hi' })],
  ])('is 403 at the door of %s, names the rule, is final, and reaches no provider', async (_, path, body) => {
    await setPolicy([rule({ name: 'nothing today' })]);
    const before = await mock.requests();
    const id = `denied-${path.replaceAll('/', '-')}`;
    const { status, headers, body: text } = await call(secret, body, path, { 'x-request-id': id });
    expect([status, headers['x-should-retry']]).toEqual([403, 'false']);
    expect(text.toString()).toContain(`The rule \\"nothing today\\" of this project's policy denies this call.`);
    expect((await mock.requests()).length).toBe(before.length);
    await vi.waitFor(
      async () => {
        const row = (await gate.ledger()).find(({ requestId }) => requestId === id);
        expect(row).toMatchObject({ errorClass: 'policy_denied', rule: 'nothing today' });
      },
      { timeout: 30_000, interval: 50 },
    );
  });

  test('is denied for any of the models that it names', async () => {
    await setPolicy([rule({ name: 'no dear one', condition: `resource.name == 'claude-dear'` })]);
    expect((await call(secret)).status).toBe(200);
    const other = ask('claude-1', { fallbacks: [{ model: 'claude-dear' }] });
    expect((await call(secret, other)).body.toString()).toContain('no dear one');
  });

  test('is refused where it names too many models for its providers, whatever the policy says', async () => {
    const named = (count: number) =>
      JSON.stringify({
        model: 'many-1',
        messages: [{ role: 'user', content: 'hi' }],
        models: Array.from({ length: count }, (_, at) => `gpt-${at}`),
      });
    expect((await call(secret, named(15), '/v1/chat/completions')).status).toBe(200);
    const { status, body } = await call(secret, named(16), '/v1/chat/completions');
    expect([status, body.toString()]).toEqual([400, expect.stringContaining('Name fewer fallbacks')]);
  });

  test('is told whose approval it would need, and that this door cannot wait', async () => {
    await setPolicy([
      rule({
        name: 'ask ann',
        effect: 'REQUIRE_APPROVAL',
        approval: { approvers: ['psn_ann', 'psn_bob', 'psn_eve'], quorum: 2 },
      }),
    ]);
    const { status, headers, body } = await call(secret);
    expect([status, headers['x-should-retry']]).toEqual([403, 'false']);
    expect(body.toString()).toContain(
      `The rule \\"ask ann\\" of this project's policy asks for the approval of 2 of psn_ann, psn_bob, psn_eve. This door cannot wait for an approval`,
    );
  });

  test('is denied where its condition cannot be evaluated, which is counted', async () => {
    const errors = await metric('policy_evaluation_errors_total');
    await setPolicy([rule({ name: 'few tokens', condition: 'args.max_output_tokens < 10', effect: 'ALLOW' })]);
    const body = JSON.stringify({ model: 'gpt-1', messages: [{ role: 'user', content: 'hi' }] });
    expect((await call(secret, body, '/v1/chat/completions')).status).toBe(403);
    expect(await metric('policy_evaluation_errors_total')).toBe(errors + 1);
  });

  test('is judged by the tools that it offers, and by their being offered elsewhere', async () => {
    await setPolicy([
      rule({ name: 'no shell', condition: `args.tools.exists(t, t == 'bash')` }),
      rule({ name: 'no hidden tools', condition: 'args.tools_elsewhere || args.truncated' }),
    ]);
    const tool = (name: string) => ({ name, input_schema: { type: 'object' } });
    expect((await call(secret, ask('claude-1', { tools: [tool('read')] }))).status).toBe(200);
    const shell = await call(secret, ask('claude-1', { tools: [tool('read'), tool('bash')] }));
    expect(shell.body.toString()).toContain('no shell');
    const chat = JSON.stringify({
      model: 'gpt-1',
      messages: [{ role: 'user', content: 'hi' }],
      tools: [{ type: 'function', function: { name: 'bash', parameters: {} } }],
    });
    expect((await call(secret, chat, '/v1/chat/completions')).body.toString()).toContain('no shell');
    const many = Array.from({ length: 70 }, (_, i) => tool(`tool-${i}`));
    expect((await call(secret, ask('claude-1', { tools: [...many, tool('bash')] }))).status).toBe(403);
    const inContent = [
      {
        role: 'user',
        content: [{ type: 'tool_addition', tool: { type: 'tool_definition', definition: tool('bash') } }],
      },
    ];
    const hidden = await call(secret, ask('claude-1', { messages: inContent }));
    expect(hidden.body.toString()).toContain('no hidden tools');
  });

  test('starts no run', async () => {
    await setPolicy([
      rule({ name: 'no nights', actions: ['runs.start'], condition: `resource.name == 'night' && args.agent != ''` }),
    ]);
    await expect(gate.api('RunService/StartRun', { workflow: 'day' }, secret)).resolves.toBeDefined();
    await expect(gate.api('RunService/StartRun', { workflow: 'night' }, secret)).rejects.toThrow(/403.*no nights/s);
    await vi.waitFor(
      async () => {
        const { rows } = await gate.database.pool.query(
          `SELECT FROM audit_entries WHERE action = 'call.denied' AND target = 'no nights'`,
        );
        expect(rows.length).toBe(1);
      },
      { timeout: 30_000, interval: 50 },
    );
  });
});

describe('a rule on a provider', () => {
  let secret: string;
  beforeAll(async () => void ({ secret } = await gate.agent('routed')));

  test('keeps calls from it, at first and after a failure, and lets the others have them', async () => {
    await setPolicy([rule({ name: 'not gpt', condition: `resource.provider == 'gpt'` })]);
    await mock.reset();
    const bodies = Array.from({ length: 12 }, () => call(secret, ask('both-1')));
    expect((await Promise.all(bodies)).map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 200));
    await mock.script({ model: 'first-fails-1', error: 500 });
    expect((await call(secret, ask('first-fails-1'))).status).toBe(500);
    const seen = await mock.requests();
    expect(seen.length).toBeGreaterThan(12);
    expect(new Set(seen.map(({ path }) => path))).toEqual(new Set(['/v1/messages']));
    // The route for one of them alone has nowhere to go.
    expect((await call(secret, ask('gpt-1'), '/v1/chat/completions')).body.toString()).toContain('not gpt');
  });
});

describe('what only looks on', () => {
  let secret: string;
  beforeAll(async () => void ({ secret } = await gate.agent('watched')));

  const shadowRule = fc.record({
    condition: fc.constantFrom('true', 'false', `resource.name == 'claude-1'`, 'args.none > 1', 'args.stream'),
    effect: fc.constantFrom('ALLOW', 'DENY'),
  });
  const anything = fc.record({
    rules: fc.array(shadowRule, { maxLength: 3 }),
    version: fc.array(shadowRule, { maxLength: 3 }),
    capped: fc.boolean(),
  });

  test('a shadow rule, a version in shadow or a dry-run cap changes no verdict', { timeout: 120_000 }, async () => {
    const enforced = [rule({ name: 'no dear one', condition: `resource.name == 'claude-dear'` })];
    const bodies = [
      [ask('claude-1'), doors.anthropic.path],
      [ask('claude-dear'), doors.anthropic.path],
      [ask('gpt-1', { stream: true }), doors.chat.path],
    ] as const;
    const statuses = () =>
      Promise.all(
        bodies.map(
          async ([body, path]) => (await post(gate, path, body, { authorization: `Bearer ${secret}` })).status,
        ),
      );
    await setPolicy(enforced);
    const expected = await statuses();
    expect(expected).toEqual([200, 403, 200]);
    await fc.assert(
      fc.asyncProperty(anything, async ({ rules, version, capped }) => {
        const shadows = rules.map((one, at) => rule({ ...one, name: `shadow ${at}`, mode: 'SHADOW' }));
        const cap = {
          name: 'watched',
          unit: 'BUDGET_UNIT_REQUESTS',
          window: 'BUDGET_WINDOW_DAY',
          limitAmount: '0',
          mode: 'BUDGET_MODE_DRY_RUN',
        };
        await setPolicy([...enforced, ...shadows], { caps: capped ? [cap] : [] });
        await setPolicy(
          version.map((one, at) => rule({ ...one, name: `next ${at}` })),
          {},
          'SHADOW',
        );
        expect(await statuses()).toEqual(expected);
      }),
      { numRuns: 25 },
    );
    await setPolicy([]);
  });

  test('is told in the ledger, in the record and in the metrics', async () => {
    const { version } = await setPolicy([rule({ name: 'soon', mode: 'SHADOW' })]);
    const next = await setPolicy([rule({ name: 'later', effect: 'DENY' })], {}, 'SHADOW');
    const denials = await metric('policy_decisions_total{verdict="deny",mode="shadow"}');
    expect((await call(secret, ask('claude-1'), doors.anthropic.path, { 'x-request-id': 'shadowed' })).status).toBe(
      200,
    );
    expect(await metric('policy_decisions_total{verdict="deny",mode="shadow"}')).toBe(denials + 2);
    const verdicts = [
      { policyVersion: version.version, rule: 'soon', verdict: 'deny' },
      { policyVersion: next.version.version, rule: 'later', verdict: 'deny' },
    ];
    const { attempts } = await gate.api<{ attempts: { requestId: string; shadowVerdicts: object[] }[] }>(
      'AnalyticsService/ListAttempts',
    );
    expect(attempts.find(({ requestId }) => requestId === 'shadowed')?.shadowVerdicts).toMatchObject(verdicts);
    await vi.waitFor(
      async () => {
        const { rows } = await gate.database.pool.query(
          `SELECT version, verdict, rule, shadows, facts #>> '{facts,principal,name}' AS name FROM policy_records WHERE request_id = 'shadowed'`,
        );
        expect(rows).toEqual([
          { version: version.version, verdict: 'allow', rule: null, shadows: verdicts, name: 'watched' },
        ]);
      },
      { timeout: 30_000, interval: 50 },
    );
  });
});

test('a rollback of the policy releases no kill switch', async () => {
  const { secret } = await gate.agent('stopped');
  await setPolicy([rule({ name: 'before' })]);
  await setPolicy([]);
  const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
    scope: 'KILL_SCOPE_MODEL',
    value: 'claude-*',
    reason: 'to be looked at',
  });
  for (const version of [undefined, 2, 1]) {
    await gate.api('PolicyService/RollbackPolicy', { version, etag: await etag() });
    const { status, body } = await call(secret);
    expect([status, body.toString()]).toEqual([503, expect.stringContaining('to be looked at')]);
  }
  await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
});

test('a policy that was put in force reaches another replica within a second', { timeout: 60_000 }, async () => {
  const replica = await startGate({ yaml: mockConfiguration(mock), database: gate.database });
  try {
    const { secret } = await gate.agent('twice');
    const through = async (one: TestGate) =>
      (await post(one, doors.anthropic.path, ask('claude-1'), { authorization: `Bearer ${secret}` })).status;
    const tookMs: number[] = [];
    for (let round = 0; round < 5; round++) {
      for (const [rules, status] of [
        [[rule({ name: `round ${round}` })], 403],
        [[], 200],
      ] as const) {
        await setPolicy(rules);
        const began = performance.now();
        // The replica that made the change obeys it already.
        expect(await through(gate)).toBe(status);
        await vi.waitFor(async () => expect(await through(replica)).toBe(status), { timeout: 10_000, interval: 5 });
        tookMs.push(performance.now() - began);
      }
    }
    console.log(`policy changes reached the other replica in ${tookMs.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  } finally {
    await replica.end();
  }
});

test('a policy that this server cannot read lets nothing through, and says so', async () => {
  const { secret } = await gate.agent('broken');
  await setPolicy([rule({ name: 'odd', condition: 'false' })]);
  const other = await startGate({ yaml: mockConfiguration(mock), database: gate.database });
  await other.end();
  await queryAsOwner(
    gate.database,
    `UPDATE policy_versions SET document = jsonb_set(document, '{rules,0,effect}', '"ask_the_moon"')
     WHERE (project_id, version) = (SELECT project_id, in_force FROM policy_state)`,
  );
  try {
    // As a newer release would have written it: this process starts on it.
    await other.start();
    const answer = await post(other, doors.anthropic.path, ask('claude-1'), { authorization: `Bearer ${secret}` });
    expect([answer.status, answer.body.toString()]).toEqual([
      503,
      expect.stringMatching(/Version \d+ of this project's policy cannot be read/),
    ]);
    expect(await other.settledLog()).toContain('A policy cannot be built here');
    // An operator gets out of it, by this very server.
    await other.api('PolicyService/SetPolicy', {
      document: {},
      stage: 'POLICY_STAGE_ENFORCED',
      etag: await etag(other),
    });
    await vi.waitFor(
      async () => {
        const again = await post(other, doors.anthropic.path, ask('claude-1'), { authorization: `Bearer ${secret}` });
        expect(again.status).toBe(200);
      },
      { timeout: 10_000, interval: 20 },
    );
  } finally {
    await other.end();
  }
});

test('what is recorded is written before the process ends', async () => {
  const days = await startGate({ yaml: mockConfiguration(mock) });
  try {
    const { secret } = await days.agent('recorded');
    for (let at = 0; at < 3; at++)
      await post(days, doors.anthropic.path, ask('claude-1'), { authorization: `Bearer ${secret}` });
    await days.end();
    const { rows } = await days.database.pool.query('SELECT FROM policy_records');
    expect(rows.length).toBe(3);
  } finally {
    await days.stop();
  }
});
