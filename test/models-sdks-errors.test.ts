import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import { type Api, apis, asking, user } from './support/sdk-dialects.ts';
import { type SdkSuite, describeSdks } from './support/sdk-suite.ts';
import { type ClientOptions, familyOf } from './support/sdks.ts';

/** A refusal is the exception that a program expects of its SDK, with its words, its request id and when to come back. */

/** The class that the SDKs of both languages have for a status. */
function classOf(api: Api, status: number): string {
  const ofBoth: Readonly<Record<number, string>> = {
    400: 'BadRequestError',
    401: 'AuthenticationError',
    403: 'PermissionDeniedError',
    404: 'NotFoundError',
    409: 'ConflictError',
    422: 'UnprocessableEntityError',
    429: 'RateLimitError',
  };
  const ofAnthropic: Readonly<Record<number, string>> = {
    408: 'RequestTimeoutError',
    413: 'ContentTooLargeError',
    503: 'ServiceUnavailableError',
    504: 'GatewayTimeoutError',
    529: 'OverloadedError',
  };
  const known = ofBoth[status] ?? (familyOf(`${api}.create`) === 'anthropic' ? ofAnthropic[status] : undefined);
  return known ?? (status >= 500 ? 'InternalServerError' : 'APIError');
}

interface Refused {
  readonly params?: object;
  readonly options?: Partial<ClientOptions>;
}

interface Case {
  readonly what: string;
  readonly status: number;
  readonly code: string;
  readonly words: RegExp;
  /** Whether SDKs are told that trying again is of no use. */
  readonly final: boolean;
  /** What is asked, after what makes the gate refuse it. */
  readonly of: (suite: SdkSuite, api: Api) => Promise<Refused>;
}

let names = 0;
const newName = (prefix: string) => `${prefix}-${++names}`;

/** A model of another dialect than the API's. */
const foreign = (api: Api) => (api === 'messages' ? 'gpt-1' : 'claude-1');
const hello = [user('hello')];

async function keyOf({ gate }: SdkSuite, key: object): Promise<Refused> {
  return { options: { apiKey: (await gate.agent(newName('agent'), key)).secret } };
}

const cases: readonly Case[] = [
  {
    what: 'a field with a wrong value',
    status: 400,
    code: 'invalid_argument',
    words: /tool_choice/,
    final: true,
    of: async (_suite, api) => ({ params: asking(api, foreign(api), hello, { tool_choice: 'sometimes' }) }),
  },
  {
    what: 'a prompt that does not fit',
    status: 400,
    code: 'context_length_exceeded',
    words: /prompt is too long|maximum context length|exceeds the context window/,
    final: true,
    of: async (_suite, api) => ({ params: asking(api, `small-${foreign(api)}`, [user('word '.repeat(500))]) }),
  },
  {
    what: 'a key without the scope',
    status: 403,
    code: 'insufficient_scope',
    words: /models:invoke/,
    final: true,
    of: (suite) => keyOf(suite, { scopes: ['runs:write'] }),
  },
  {
    what: 'a key without the model',
    status: 403,
    code: 'policy_denied',
    words: /claude-1/,
    final: true,
    of: (suite) => keyOf(suite, { models: ['gpt-1'] }),
  },
  {
    what: 'a model that is not there',
    status: 404,
    code: 'not_found',
    words: /Did you mean sim/,
    final: true,
    of: async (_suite, api) => ({ params: asking(api, 'simm', hello) }),
  },
  {
    what: 'a body that is too large',
    status: 413,
    code: 'payload_too_large',
    words: /4194304|4 MiB/,
    final: true,
    of: async (_suite, api) => ({ params: asking(api, 'sim', [user('x'.repeat(5_000_000))]) }),
  },
  {
    what: 'a budget that is spent',
    status: 429,
    code: 'budget_exceeded',
    words: /budget/,
    final: true,
    of: async ({ gate }) => {
      const { agentId, secret } = await gate.agent(newName('agent'));
      await gate.budget({ name: newName('budget'), unit: 'REQUESTS', limit: 0n, selector: { agentId } });
      return { options: { apiKey: secret } };
    },
  },
  {
    what: 'a kill switch',
    status: 503,
    code: 'killed',
    words: /enough of this/,
    final: true,
    of: async ({ gate }) => {
      const { agentId, secret } = await gate.agent(newName('agent'));
      const kill = { scope: 'KILL_SCOPE_AGENT', value: agentId, reason: 'enough of this' };
      await gate.api('PolicyService/EngageKillSwitch', kill);
      return { options: { apiKey: secret } };
    },
  },
  {
    what: 'a provider that breaks the connection',
    status: 502,
    code: 'upstream_error',
    words: /claude/,
    final: false,
    of: async ({ mock }, api) => {
      const model = newName('claude-broken');
      await mock.script({ model, reset: true });
      return { params: asking(api, model, hello) };
    },
  },
  {
    what: 'a provider that does not answer in time',
    status: 504,
    code: 'deadline_exceeded',
    words: /did not begin its answer within 0\.7 s/,
    final: false,
    of: async ({ mock }, api) => {
      const model = newName('gpt-hasty');
      await mock.script({ model, never: true });
      return { params: asking(api, model, hello) };
    },
  },
];

const small = { capabilities: { context: 300 } };
const json = { name: 'place', schema: { type: 'object', properties: {} } };
const routes = {
  'plain-1': { targets: [{ provider: 'claude', capabilities: { structured_output: false } }] },
  'small-claude-1': { targets: [{ provider: 'claude', model: 'claude-1', ...small }] },
  'small-gpt-1': { targets: [{ provider: 'gpt', model: 'gpt-1', ...small }] },
};

describeSdks(
  (suite) => {
    let limited: TestGate;
    beforeAll(async () => {
      const env = { RATE_LIMIT_MODELS_PER_MINUTE: '1' };
      limited = await startGate({ database: suite().gate.database, env });
    });
    afterAll(() => limited.stop());
    beforeEach(() => suite().mock.reset());

    // Not for each API: after five failures an address must wait.
    test.each(['messages', 'completions'] as const)(
      '%s raises what it has for a key that does not hold',
      async (api) => {
        const failure = await suite().fail(`${api}.create`, asking(api, 'sim', hello), { apiKey: 'pc_wrong' });
        expect(failure.classes).toContain('AuthenticationError');
        expect(failure).toMatchObject({ status: 401, code: 'unauthenticated' });
        expect(failure.requestId).toMatch(/^req_/);
      },
    );

    describe.each(apis)('%s', (api) => {
      const ask = (model: string) => asking(api, model, hello);

      describe.each(['create', 'events', 'stream'] as const)('by %s', (how) => {
        const method = `${api}.${how}` as const;

        test.each(cases)('raises what it has for $what', async ({ status, code, words, final, of }) => {
          const { params = ask('claude-1'), options } = await of(suite(), api);
          const failure = await suite().fail(method, params, options);
          expect(failure.classes).toContain(classOf(api, status));
          expect(failure).toMatchObject({
            status,
            code,
            message: expect.stringMatching(words),
            requestId: expect.stringMatching(/^req_/),
          });
          expect(failure.headers['x-should-retry']).toBe(final ? 'false' : undefined);
        });

        test.each([400, 403, 404, 408, 413, 422, 429, 500, 503, 529])(
          'raises what it has for a provider’s %i',
          async (status) => {
            for (const provider of ['claude', 'gpt', 'openai']) {
              const model = newName(provider);
              await suite().mock.script({ model, error: status, headers: { 'retry-after': '7' } });
              const failure = await suite().fail(method, ask(model));
              // Only Anthropic's clients know that status; to others it is told where it is the provider's very answer.
              expect(status === 529 && api !== 'messages' ? [503, 529] : [status]).toContain(failure.status);
              expect(failure.classes).toContain(classOf(api, failure.status ?? 0));
              expect(failure).toMatchObject({
                message: expect.stringContaining(`The mock was told to answer ${status}.`),
                requestId: expect.stringMatching(/^req_/),
              });
              expect(failure.headers['retry-after']).toBe('7');
            }
          },
        );

        test('raises a refusal of the simulated model', async () => {
          const failure = await suite().fail(method, ask('sim-error-429'));
          expect(failure.classes).toContain('RateLimitError');
          expect(failure.message).toContain('[simulated]');
        });
      });

      test('raises what it has for a gate’s own credential that a provider refused: not a fault of the program', async () => {
        const model = newName('claude');
        await suite().mock.script({ model, error: 401 });
        const failure = await suite().fail(`${api}.create`, ask(model));
        expect(failure).toMatchObject({ status: 502, message: expect.stringContaining('an operator must renew') });
      });

      test('names a field that the other side lacks as its own dialect spells it', async () => {
        const [provider, field, name] = {
          messages: ['openai', { inference_geo: 'eu' }, 'inference_geo'],
          completions: ['plain', { response_format: { type: 'json_schema', json_schema: json } }, 'response_format'],
          responses: ['plain', { text: { format: { type: 'json_schema', ...json } } }, 'text.format'],
        }[api] as [string, object, string];
        const failure = await suite().fail(`${api}.create`, asking(api, `${provider}-1`, hello, field));
        expect(failure).toMatchObject({ status: 400, message: expect.stringContaining(name) });
        expect(failure.message).toMatch(new RegExp(`"${name}\\\\?"`));
      });

      test('raises what it has for a rate limit, with the time to come back', async () => {
        const { secret } = await suite().gate.agent(newName('agent'));
        const options = { gateUrl: limited.url, apiKey: secret };
        await suite().call(`${api}.create`, ask('sim'), options);
        const failure = await suite().fail(`${api}.create`, ask('sim'), options);
        expect(failure.classes).toContain('RateLimitError');
        expect(failure).toMatchObject({ status: 429, code: 'rate_limited' });
        expect(Number(failure.headers['retry-after'])).toBeGreaterThan(1);
        expect(failure.headers).not.toHaveProperty('x-should-retry');
      });

      test('raises what it has for an Idempotency-Key in use, and for another request under it', async () => {
        const model = newName('claude');
        const options = { headers: { 'idempotency-key': newName('key') } };
        await suite().mock.script({ model, latencyMs: 700 });
        const first = suite().call(`${api}.create`, ask(model), options);
        await suite().mock.until((requests) => requests.length === 1);
        const early = await suite().fail(`${api}.create`, ask(model), options);
        expect(early.classes).toContain('ConflictError');
        expect(early).toMatchObject({ status: 409, code: 'in_progress' });
        expect(Number(early.headers['retry-after'])).toBeGreaterThan(0);
        const { answer } = await first;
        expect((await suite().call(`${api}.create`, ask(model), options)).answer).toEqual(answer);
        const other = await suite().fail(`${api}.create`, asking(api, model, [user('bye')]), options);
        expect(other.classes).toContain('UnprocessableEntityError');
        expect(other).toMatchObject({ status: 422, code: 'idempotency_mismatch' });
        expect(await suite().mock.requests()).toHaveLength(1);
      });

      test.each(['claude', 'gpt', 'openai'])(
        'knows an overflow of the context that %s tells by its words',
        async (provider) => {
          const model = newName(provider);
          const error =
            provider === 'claude'
              ? { type: 'invalid_request_error', message: 'prompt is too long: 9 tokens > 8 maximum' }
              : {
                  type: 'invalid_request_error',
                  code: 'context_length_exceeded',
                  message: "This model's maximum context length is 8 tokens.",
                };
          const body = JSON.stringify(provider === 'claude' ? { type: 'error', error } : { error });
          const headers = { 'content-type': 'application/json' };
          await suite().mock.script({ model, reply: { status: 400, headers, chunks: [body] } });
          const failure = await suite().fail(`${api}.stream`, ask(model));
          expect(failure.classes).toContain('BadRequestError');
          const [told, known] =
            api === 'messages' ? [failure.message, 'prompt is too long'] : [failure.code, 'context_length_exceeded'];
          expect(told).toContain(known);
        },
      );
    });

    test('embeddings and counts raise what they have for a refusal as well', async () => {
      for (const method of ['embeddings.create', 'messages.count'] as const) {
        const params = method === 'messages.count' ? { messages: hello } : { input: 'hello' };
        const missing = await suite().fail(method, { model: 'simm', ...params });
        expect(missing.classes).toContain('NotFoundError');
        expect(missing).toMatchObject({ code: 'not_found', requestId: expect.stringMatching(/^req_/) });
      }
      const unable = await suite().fail('embeddings.create', { model: 'claude-1', input: 'hello' });
      expect(unable.classes).toContain('BadRequestError');
      expect(unable).toMatchObject({ status: 400, param: 'model' });
    });
  },
  { models: routes },
);
