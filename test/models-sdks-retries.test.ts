import { beforeEach, describe, expect, test } from 'vitest';
import { apis, asking, user } from './support/sdk-dialects.ts';
import { describeSdks } from './support/sdk-suite.ts';

/** The SDKs try again by themselves, and so does the gate: nobody's retries multiply anybody else's. */

const hello = [user('hello')];
let names = 0;
const newName = (prefix: string) => `${prefix}-${++names}`;

const failing = [
  ['create', 500],
  ['stream', 503],
] as const;

// Three attempts, as is usual; each case has a route, and with it a retry budget, of its own.
const routes = Object.fromEntries(
  apis.flatMap((api) => failing.map(([how]) => [`gpt-thrice-${api}-${how}-*`, { targets: [{ provider: 'gpt' }] }])),
);

describeSdks(
  (suite) => {
    beforeEach(() => suite().mock.reset());

    describe.each(apis)('%s: retries', (api) => {
      const ask = (model: string) => asking(api, model, hello);
      const seen = async () => (await suite().mock.requests()).length;

      test.each([
        [0, 1],
        [undefined, 3],
      ])('of the SDK alone (its limit: %s) make %i attempts where the gate makes one', async (maxRetries, attempts) => {
        const model = newName('claude');
        await suite().mock.script({ model, error: 500 });
        const { status } = await suite().fail(`${api}.create`, ask(model), { maxRetries });
        expect([status, await seen()]).toEqual([500, attempts]);
      });

      test.each(failing)('of the gate are not multiplied by the SDK (%s, %i)', async (how, error) => {
        const model = newName(`gpt-thrice-${api}-${how}`);
        await suite().mock.script({ model, error });
        const failure = await suite().fail(`${api}.${how}`, ask(model), { maxRetries: undefined });
        expect([failure.status, await seen()]).toEqual([error, 3]);
        expect(failure.headers).toMatchObject({ 'x-should-retry': 'false', 'portcullis-attempts': '3' });
      });

      test('of the SDK wait as long as the provider asks', async () => {
        const model = newName(api === 'messages' ? 'gpt' : 'claude');
        await suite().mock.script({ model, error: 429, times: 1, headers: { 'retry-after': '1' } });
        await suite().call(`${api}.create`, ask(model), { maxRetries: undefined });
        const [first, second, ...others] = await suite().mock.requests();
        expect((second?.receivedAt ?? 0) - (first?.receivedAt ?? 0)).toBeGreaterThan(950);
        expect(others).toEqual([]);
      });

      test('of the SDK get the first call’s answer where that is still under way', async () => {
        const model = newName('claude');
        const options = { headers: { 'idempotency-key': newName('key') } };
        await suite().mock.script({ model, latencyMs: 700 });
        const first = suite().call(`${api}.create`, ask(model), options);
        await suite().mock.until((requests) => requests.length === 1);
        const again = await suite().call(`${api}.create`, ask(model), { ...options, maxRetries: undefined });
        expect(again.answer).toEqual((await first).answer);
        expect(await seen()).toBe(1);
      });

      test('are not made of what is final: a spent budget is asked for once', async () => {
        const { agentId, secret } = await suite().gate.agent(newName('agent'));
        await suite().gate.budget({ name: newName('budget'), unit: 'REQUESTS', limit: 0n, selector: { agentId } });
        const options = { apiKey: secret, maxRetries: undefined };
        const failure = await suite().fail(`${api}.stream`, ask('claude-1'), options);
        expect(failure.classes).toContain('RateLimitError');
        await suite().gate.ledgerRow(failure.requestId ?? '');
        expect((await suite().gate.ledger()).filter((row) => row.agentId === agentId)).toHaveLength(1);
      });
    });
  },
  { models: routes },
);
