import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, type RawAnswer, startGateWithMock } from './support/models.ts';

/** The kill switch for a provider: what else serves a route goes on serving it; what only that provider serves stops. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let bearer: Record<string, string>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({
    models: {
      two: {
        targets: [
          { provider: 'claude', model: 'claude-a' },
          { provider: 'gpt', model: 'gpt-a', weight: 0 },
        ],
      },
      retried: { targets: [{ provider: 'claude', model: 'claude-fails' }], attempts_max: 5 },
      moving: {
        targets: [
          { provider: 'claude', model: 'claude-fails' },
          { provider: 'gpt', model: 'gpt-a' },
        ],
      },
      vectors: {
        targets: [
          { provider: 'gpt', model: 'gpt-vectors' },
          { provider: 'spare', model: 'other-vectors' },
        ],
      },
    },
    extend: (yaml, mockUrl) => {
      const parsed = JSON.parse(yaml) as { providers: Record<string, object> };
      const spare = { kind: 'openai-compatible', base_url: `${mockUrl}/v1`, allow_private: true };
      return JSON.stringify({
        ...parsed,
        providers: { ...parsed.providers, spare: { ...parsed.providers['gpt'], ...spare } },
      });
    },
  }));
  const { secret } = await gate.agent('caller');
  bearer = { authorization: `Bearer ${secret}` };
  await mock.script({ model: 'claude-a', tokens: 100_000, tokensPerSecond: 50 });
  await mock.script({ model: 'gpt-a', tokens: 3 });
  await mock.script({ model: 'claude-fails', error: 500, headers: { 'retry-after': '60' } });
});
afterAll(() => stop());
afterEach(async () => {
  const { killSwitches = [] } = await gate.api<{ killSwitches?: { id: string }[] }>('PolicyService/ListKillSwitches');
  for (const { id } of killSwitches) await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: id });
});

const engage = (value: string) =>
  gate.api('PolicyService/EngageKillSwitch', { scope: 'KILL_SCOPE_PROVIDER', value, reason: 'It leaks.' });

let calls = 0;
async function send(path: string, body: string): Promise<{ answer: RawAnswer; requestId: string }> {
  const requestId = `provider-${calls++}`;
  return { requestId, answer: await post(gate, path, body, { ...bearer, 'x-request-id': requestId }) };
}

/** Waits until the provider has so many requests open or ended for a model. */
const seen = (model: string, count: number) =>
  mock.until((requests) => requests.filter((request) => request.model === model).length >= count);

describe('a stopped provider', () => {
  test('is passed over where its route has another target, also one that is for failures only', async () => {
    await engage('claude');
    for (const { path } of [doors.anthropic, doors.chat]) {
      const { answer, requestId } = await send(path, ask('two'));
      expect(answer.status).toBe(200);
      expect(await gate.ledgerRow(requestId)).toMatchObject({ provider: 'gpt', modelServed: 'gpt-a' });
    }
  });

  test('ends the calls that are at it, with one error event, and not those at another', async () => {
    const before = (await mock.requests()).filter(({ model }) => model === 'claude-a').length;
    const flying = send(doors.anthropic.path, ask('two', { stream: true, max_tokens: 100_000 }));
    await seen('claude-a', before + 1);
    await engage('gpt');
    await engage('claude');
    const { answer, requestId } = await flying;
    expect(answer.body.toString()).toContain('Stopped by the kill switch for the provider claude');
    expect(answer.body.toString().match(/event: error/g)).toHaveLength(1);
    expect(await gate.ledgerRow(requestId)).toMatchObject({ provider: 'claude', outcome: 'ATTEMPT_OUTCOME_KILLED' });
  });

  test.each([
    [doors.anthropic.path, ask('claude-1'), { type: 'error', error: { type: 'api_error' } }],
    [doors.chat.path, ask('claude-1'), { error: { code: 'killed' } }],
    ['/v1/responses', JSON.stringify({ model: 'claude-1', input: 'hi' }), { error: { code: 'killed' } }],
  ])('refuses at %s what nothing else serves', async (path, body, told) => {
    await engage('claude');
    const before = (await mock.requests()).length;
    const { answer, requestId } = await send(path, body);
    expect(answer.status).toBe(503);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(JSON.parse(answer.body.toString())).toMatchObject(told);
    expect(answer.body.toString()).toContain('It leaks.');
    expect(await mock.requests()).toHaveLength(before);
    expect(await gate.ledgerRow(requestId)).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_KILLED' });
  });

  test('does not keep a call waiting for its next try there', async () => {
    const waiting = send(doors.anthropic.path, ask('retried'));
    await seen('claude-fails', 1);
    await expect
      .poll(async () => (await gate.ledger()).some(({ modelServed }) => modelServed === 'claude-fails'))
      .toBe(true);
    const engagedAt = performance.now();
    await engage('claude');
    const { answer } = await waiting;
    // Far from the minute that the provider asked for.
    expect(performance.now() - engagedAt).toBeLessThan(10_000);
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('It leaks.');
  });

  test('does not change the model of vectors', async () => {
    await engage('gpt');
    const { answer } = await send('/v1/embeddings', JSON.stringify({ model: 'vectors', input: 'hi' }));
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('It leaks.');
  });

  test('is one that the configuration has', async () => {
    await expect(engage('cluade')).rejects.toThrow(/404.*no provider \\"cluade\\"/);
  });
});

test.each([
  ['EVERYTHING', () => ''],
  ['PROJECT', () => ''],
  ['AGENT', (of: { agentId: string }) => of.agentId],
  ['KEY', (of: { keyId: string }) => of.keyId],
  ['WORKFLOW', () => 'nightly'],
] as const)('no run is started while %s is stopped', async (scope, valueOf) => {
  const made = await gate.agent(`starts-${scope}`);
  const start = () => gate.api('RunService/StartRun', { workflow: 'nightly' }, made.secret);
  await start();
  await gate.api('PolicyService/EngageKillSwitch', {
    scope: `KILL_SCOPE_${scope}`,
    value: valueOf(made),
    reason: 'No.',
  });
  await expect(start()).rejects.toThrow(/503.*Stopped by the kill switch/);
});
