import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type LedgerRow, type NewBudget, type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, mockConfiguration, nanoPerToken, post } from './support/models.ts';

/** The caps that a policy may set for a run (cost, attempts, tokens) and for an attempt (cost, tokens, latency): budgets all. */

let gate: TestGate;
let mock: MockUpstream;

beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock)) as { providers: { gpt: object }; models: object };
  const openai = { ...yaml.providers.gpt, kind: 'openai' };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { ...yaml.providers, openai },
      models: {
        ...yaml.models,
        'openai-*': { targets: [{ provider: 'openai' }], attempts_max: 1 },
        'again-*': { targets: [{ provider: 'claude' }], attempts_max: 3 },
        'twice-*': {
          targets: [
            { provider: 'claude', weight: 1 },
            { provider: 'gpt', weight: 0 },
          ],
          attempts_max: 4,
        },
      },
    }),
  });
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

let names = 0;

interface Caller {
  readonly headers: Record<string, string>;
  readonly secret: string;
  /** The ids of the budgets, in the order in which they were asked for. */
  readonly budgets: readonly string[];
}

/** An agent with budgets of its own, whose names are their units unless said otherwise. */
async function caller(...budgets: (Omit<NewBudget, 'name'> & { readonly name?: string })[]): Promise<Caller> {
  const { agentId, secret } = await gate.agent(`capped-${names++}`);
  const made: string[] = [];
  for (const budget of budgets) {
    const name = `${budget.unit}-${names++}`;
    made.push(await gate.budget({ name, selector: { agentId }, ...budget }));
  }
  return { secret, headers: { authorization: `Bearer ${secret}` }, budgets: made };
}

const paths = { anthropic: '/v1/messages', chat: '/v1/chat/completions', responses: '/v1/responses' } as const;
type Client = keyof typeof paths;
const clients = ['anthropic', 'chat', 'responses'] as const;

function call(client: Client, model: string, headers: Record<string, string>, rest: object = {}): Promise<RawAnswer> {
  const body =
    client === 'responses'
      ? JSON.stringify({ model, input: 'hello', max_output_tokens: 5_000, ...rest })
      : ask(model, { max_tokens: 5_000, ...rest });
  return post(gate, paths[client], body, headers);
}

function rowOf({ headers }: RawAnswer): Promise<LedgerRow> {
  return gate.ledgerRow(String(headers['x-request-id']));
}

describe('a cap per run on', () => {
  const worst = { input: 500n, output: 500n };
  const caps = [
    // One call fits, and the second one not beside what the first one cost.
    ['cost', 'USD', worst.input * nanoPerToken.input + worst.output * nanoPerToken.output + 300_000n, 1],
    ['tokens', 'TOKENS', worst.input + worst.output + 200n, 1],
    ['attempts', 'REQUESTS', 3n, 3],
  ] as const;

  test.each(caps)('%s ends a run, and no other', async (_what, unit, limit, fitting) => {
    const { headers, secret } = await caller({ unit, limit, window: 'RUN' });
    await mock.script({ tokens: 400 });
    const runs = await Promise.all(
      ['first', 'second'].map(async (workflow) => {
        const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow }, secret);
        return run.id;
      }),
    );
    for (const run of runs) {
      const inRun = { ...headers, 'x-portcullis-run': run };
      for (let i = 0; i < fitting; i++)
        expect((await call('chat', 'gpt-1', inRun, { max_tokens: 500 })).status).toBe(200);
      const refused = await call('chat', 'gpt-1', inRun, { max_tokens: 500 });
      expect(refused.status).toBe(429);
      expect(refused.headers).not.toHaveProperty('retry-after');
      expect(refused.body.toString()).toMatch(
        /allows .* a run: .* spent, .* held by calls in flight, .* An operator can raise it\./,
      );
      expect(await rowOf(refused)).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_BUDGET', errorClass: 'budget_exceeded' });
    }
    // Outside of a run there is nothing that it counts.
    expect((await call('chat', 'gpt-1', headers, { max_tokens: 500 })).status).toBe(200);
    expect(await mock.requests()).toHaveLength(2 * fitting + 1);
  });
});

describe('a cap per attempt on', () => {
  test.each([
    ['cost', 'USD', 2_000_000n],
    ['tokens', 'TOKENS', 1_000n],
  ] as const)('%s refuses a call that may be dearer, and counts nothing together', async (_what, unit, limit) => {
    const { headers } = await caller({ unit, limit, window: 'ATTEMPT' });
    await mock.script({ tokens: 400 });
    const refused = await call('anthropic', 'claude-1', headers);
    expect(refused.status).toBe(429);
    expect(refused.headers['x-should-retry']).toBe('false');
    expect(refused.body.toString()).toMatch(/allows .* a call, and this call may take up to .*; ask for less output/);
    expect(await mock.requests()).toEqual([]);
    for (let i = 0; i < 4; i++)
      expect((await call('anthropic', 'claude-1', headers, { max_tokens: 400 })).status).toBe(200);
  });

  describe('latency', () => {
    const pairs = clients.flatMap((client) => ['claude', 'gpt', 'openai'].map((provider) => ({ client, provider })));

    test.each(pairs)('ends a stream of $provider to a $client client in its dialect', async ({ client, provider }) => {
      const name = `slow-${client}-${provider}`;
      const { headers } = await caller({ unit: 'LATENCY_MS', limit: 600n, window: 'ATTEMPT', name });
      await mock.script({ tokens: 5_000, tokensPerSecond: 40 });
      const answer = await call(client, `${provider}-1`, headers, { stream: true });
      expect(answer.status).toBe(200);
      const text = answer.body.toString();
      const message = `Budget \\"${name}\\" allows an attempt 600 ms, and this one took longer: ask for less output`;
      expect(text).toContain('word1');
      const last = text.trimEnd().split('\n\n').at(-1) ?? '';
      expect(last).toContain(message);
      expect(last).toContain('"deadline_exceeded"');
      expect(last).toMatch(
        { anthropic: /^event: error\n/, chat: /^data: \{"error"/, responses: /^event: response.failed\n/ }[client],
      );
      await mock.until((requests) => requests.every(({ outcome }) => outcome === 'client_aborted'));
      expect(await rowOf(answer)).toMatchObject({
        outcome: 'ATTEMPT_OUTCOME_TIMEOUT',
        errorClass: 'deadline_exceeded',
        rule: name,
        provenance: 'PROVENANCE_ESTIMATED',
      });
    });

    test.each(clients)('ends a whole answer to a %s client, the tightest one first', async (client) => {
      const { headers } = await caller(
        { unit: 'LATENCY_MS', limit: 60_000n, window: 'ATTEMPT' },
        { unit: 'LATENCY_MS', limit: 400n, window: 'ATTEMPT' },
        { unit: 'LATENCY_MS', limit: 300n, window: 'ATTEMPT', mode: 'DRY_RUN' },
        { unit: 'LATENCY_MS', limit: null, window: 'ATTEMPT' },
      );
      await mock.script({ never: true });
      const answer = await call(client, 'claude-1', headers);
      expect(answer.status).toBe(504);
      const { error } = JSON.parse(answer.body.toString()) as { error: { message: string; details: object } };
      expect(error.message).toMatch(
        /allows an attempt 400 ms, and this one took longer: .* or have an operator raise it/,
      );
      expect(error.details).toMatchObject({ unit: 'latency_ms', limit: '400' });
    });

    test.each([
      ['again-1', 1, undefined],
      ['twice-1', 2, '2'],
    ])('asks each target of %s once, and tells clients not to ask again', async (model, targets, attempts) => {
      const { headers } = await caller({ unit: 'LATENCY_MS', limit: 300n, window: 'ATTEMPT' });
      await mock.script({ never: true });
      const answer = await call('chat', model, headers);
      expect([answer.status, answer.headers['portcullis-attempts']]).toEqual([504, attempts]);
      expect(answer.headers['x-should-retry']).toBe('false');
      expect(await mock.requests()).toHaveLength(targets);
    });

    test('gives way to a deadline of the route that is sooner', async () => {
      const { headers } = await caller({ unit: 'LATENCY_MS', limit: 20_000n, window: 'ATTEMPT' });
      await mock.script({ never: true });
      const answer = await call('chat', 'gpt-hasty-1', headers);
      expect(answer.body.toString()).toContain('did not begin its answer within 0.7 s');
    });

    test('of 0 denies', async () => {
      const { headers } = await caller({ unit: 'LATENCY_MS', limit: 0n, window: 'ATTEMPT' });
      const answer = await call('chat', 'gpt-1', headers);
      expect(answer.status).toBe(429);
      expect(answer.body.toString()).toContain('is 0 and denies this call');
      expect(await rowOf(answer)).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_BUDGET' });
      expect(await mock.requests()).toEqual([]);
    });

    test('in dry run ends nothing, and says what it would have ended', async () => {
      const { headers, budgets } = await caller(
        { unit: 'LATENCY_MS', limit: 200n, window: 'ATTEMPT', mode: 'DRY_RUN' },
        { unit: 'LATENCY_MS', limit: 60_000n, window: 'ATTEMPT', mode: 'DRY_RUN' },
      );
      await mock.script({ latencyMs: 500 });
      const answer = await call('anthropic', 'claude-1', headers);
      expect(answer.status).toBe(200);
      const { shadowVerdicts = [] } = await rowOf(answer);
      const took = shadowVerdicts[0]?.observed;
      expect(shadowVerdicts).toMatchObject([{ budgetId: budgets[0], limit: '200', requested: took }]);
      expect(Number(took)).toBeGreaterThanOrEqual(500);
    });

    test.each([429, 500, 503])('in dry run also says so of an attempt that the provider refuses: %i', async (error) => {
      const { headers, budgets } = await caller({
        unit: 'LATENCY_MS',
        limit: 200n,
        window: 'ATTEMPT',
        mode: 'DRY_RUN',
      });
      await mock.script({ latencyMs: 500, error });
      const answer = await call('anthropic', 'claude-1', headers);
      expect([answer.status, answer.headers['x-should-retry']]).toEqual([error, undefined]);
      expect(await rowOf(answer)).toMatchObject({ costNanousd: '0', shadowVerdicts: [{ budgetId: budgets[0] }] });
    });

    test('is for each attempt: the next target has as long, and the breaker of none hears of it', async () => {
      const { headers } = await caller({ unit: 'LATENCY_MS', limit: 300n, window: 'ATTEMPT' });
      for (let i = 0; i < 7; i++) {
        await mock.script({ model: 'twice-1', never: true, times: 1 });
        const answer = await call('chat', 'twice-1', headers);
        expect([answer.status, answer.headers['portcullis-attempts']]).toEqual([200, '2']);
      }
      const { headers: patient } = await caller();
      const answer = await call('chat', 'twice-1', patient);
      expect([answer.status, answer.headers['portcullis-attempts']]).toEqual([200, undefined]);
    });
  });
});

test('a budget of calls in flight holds a place for each, and posts nothing', async () => {
  const { headers } = await caller({ unit: 'CONCURRENT_REQUESTS', limit: 2n, name: 'places' });
  await mock.script({ latencyMs: 1_000, times: 2 });
  const under = [call('chat', 'gpt-1', headers), call('anthropic', 'claude-1', headers)];
  await mock.until((requests) => requests.length === 2);
  const refused = await call('chat', 'gpt-1', headers);
  expect(refused.status).toBe(429);
  expect(refused.headers['retry-after']).toBe('1');
  expect(refused.headers).not.toHaveProperty('x-should-retry');
  expect(refused.body.toString()).toMatch(/allows 2 calls at once, and 2 are in flight\. Try again soon/);
  expect((await Promise.all(under)).map(({ status }) => status)).toEqual([200, 200]);
  expect(await gate.standing('places')).toMatchObject({ posted: 0n, held: 0n });
  expect((await call('chat', 'gpt-1', headers)).status).toBe(200);
});
