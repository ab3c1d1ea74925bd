import { beforeEach, describe, expect, test } from 'vitest';
import { apis, asking, user } from './support/sdk-dialects.ts';
import { describeSdks } from './support/sdk-suite.ts';
import type { NewBudget } from './support/gate.ts';

/** What official SDKs hear of a budget that refuses: which, how much, until when, and whether to try again by themselves. */

const hello = [user('hello')];
let names = 0;
const newName = (prefix: string) => `${prefix}-${++names}`;

describeSdks((suite) => {
  beforeEach(() => suite().mock.reset());

  /** A key of an agent that these budgets are for. */
  const caller = async (...budgets: Omit<NewBudget, 'selector'>[]) => {
    const { agentId, secret } = await suite().gate.agent(newName('agent'));
    for (const budget of budgets) await suite().gate.budget({ ...budget, selector: { agentId } });
    return { apiKey: secret };
  };

  describe.each(apis)('%s', (api) => {
    // All of them are OpenAI's words for "do not go on asking", and for "wait".
    const final = api === 'messages' ? 'rate_limit_error' : 'insufficient_quota';

    test('of a budget that is spent: how much of what, and that asking again is no use', async () => {
      const name = newName('spent');
      const options = await caller({ name, unit: 'TOKENS', limit: 3_000n });
      await suite().mock.script({ model: 'claude-1', tokens: 1_500 });
      await suite().call(`${api}.create`, asking(api, 'claude-1', hello), options);
      const { posted } = await suite().gate.standing(name);
      const failure = await suite().fail(`${api}.create`, asking(api, 'claude-1', hello), {
        ...options,
        maxRetries: undefined,
      });
      expect(failure).toMatchObject({ status: 429, code: 'budget_exceeded', type: final });
      expect(failure.classes).toContain('RateLimitError');
      // Some SDKs give the JSON of the answer for the message.
      const message = failure.message.replaceAll('\\"', '"');
      expect(message).toContain(`Budget "${name}" allows 3000 tokens in all: ${posted} tokens spent, 0 tokens held`);
      expect(failure.headers).toMatchObject({ 'x-should-retry': 'false' });
      expect(failure.headers).not.toHaveProperty('retry-after');
      expect(await suite().mock.requests()).toHaveLength(1);
    });

    test('of a budget whose window ends: when', async () => {
      const options = await caller({ name: newName('monthly'), unit: 'REQUESTS', limit: 1n, window: 'MONTH' });
      await suite().call(`${api}.create`, asking(api, 'claude-1', hello), options);
      const failure = await suite().fail(`${api}.create`, asking(api, 'claude-1', hello), options);
      const [, resetsAt = ''] = /It resets at (\S+);/.exec(failure.message) ?? [];
      const waitS = (Date.parse(resetsAt) - Date.now()) / 1000;
      const toldS = Number(failure.headers['retry-after']);
      expect(Math.abs(toldS - waitS)).toBeLessThan(60);
      // Clients wait by themselves, but no longer than a minute.
      expect(failure.headers['x-should-retry']).toBe(toldS < 60 ? undefined : 'false');
    });

    test('of a budget that calls in flight hold: to try again, which then succeeds', async () => {
      const options = await caller({ name: newName('busy'), unit: 'TOKENS', limit: 3_000n });
      await suite().mock.script({ model: 'gpt-slow', latencyMs: 1_200 });
      const slow = suite().call(`${api}.create`, asking(api, 'gpt-slow', hello), options);
      await suite().mock.until((requests) => requests.length === 1);
      const failure = await suite().fail(`${api}.create`, asking(api, 'gpt-1', hello), options);
      expect(failure).toMatchObject({ status: 429, code: 'budget_exceeded', type: 'rate_limit_error' });
      expect(failure.headers).toMatchObject({ 'retry-after': '1' });
      expect(failure.headers).not.toHaveProperty('x-should-retry');
      expect(failure.message).toContain('It fits when those have ended: try again soon');
      await suite().call(`${api}.create`, asking(api, 'gpt-1', hello), { ...options, maxRetries: undefined });
      await slow;
    });

    test('of a budget of calls in flight: how many are, and to try again', async () => {
      const options = await caller({ name: newName('places'), unit: 'CONCURRENT_REQUESTS', limit: 1n });
      await suite().mock.script({ model: 'gpt-slow', latencyMs: 1_200 });
      const slow = suite().call(`${api}.stream`, asking(api, 'gpt-slow', hello), options);
      await suite().mock.until((requests) => requests.length === 1);
      const failure = await suite().fail(`${api}.create`, asking(api, 'gpt-1', hello), options);
      expect(failure.message).toContain('allows 1 call at once, and 1 is in flight');
      expect(failure.headers).toMatchObject({ 'retry-after': '1' });
      await suite().call(`${api}.create`, asking(api, 'gpt-1', hello), { ...options, maxRetries: undefined });
      await slow;
    });

    test('of an answer that was too long for its attempt: by what, also in mid-stream', async () => {
      const name = newName('quick');
      const options = await caller({ name, unit: 'LATENCY_MS', limit: 500n, window: 'ATTEMPT' });
      await suite().mock.script({ model: 'claude-long', tokens: 1_000, tokensPerSecond: 50 });
      const streamed = await suite().fail(`${api}.stream`, asking(api, 'claude-long', hello), options);
      expect(streamed.message).toContain(`"${name}`);
      expect(streamed.message).toContain('allows an attempt 500 ms');
      await suite().mock.reset();
      await suite().mock.script({ model: 'claude-long', never: true });
      const asked = asking(api, 'claude-long', hello);
      const whole = await suite().fail(`${api}.create`, asked, { ...options, maxRetries: undefined });
      expect(whole).toMatchObject({ status: 504, headers: { 'x-should-retry': 'false' } });
      expect(await suite().mock.requests()).toHaveLength(1);
    });
  });
});
