import { beforeEach, describe, expect, test } from 'vitest';
import { type Api, apis, asking, user } from './support/sdk-dialects.ts';
import { describeSdks } from './support/sdk-suite.ts';

/** A stream that breaks is an exception as well, at once and with the same words; one that is only slow is none. */

const hello = [user('hello')];
let names = 0;
const newName = (prefix: string) => `${prefix}-${++names}`;

const sse = (type: string, rest: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
const chunk = (delta: object) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`;

/** The beginning of an answer, and what each vendor sends when it fails then. */
const failing = {
  anthropic: [
    sse('message_start', {
      message: {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'm',
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 5, output_tokens: 1 },
      },
    }),
    sse('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    sse('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Hel' } }),
    sse('error', { error: { type: 'overloaded_error', message: 'Overloaded by the moon' } }),
  ],
  chat: [
    chunk({ role: 'assistant', content: '' }),
    chunk({ content: 'Hel' }),
    `data: ${JSON.stringify({ error: { message: 'Overloaded by the moon', type: 'server_error', code: null, param: null } })}\n\n`,
  ],
  responses: [
    sse('response.created', {
      sequence_number: 0,
      response: { id: 'resp_1', object: 'response', status: 'in_progress', output: [] },
    }),
    sse('response.output_item.added', {
      sequence_number: 1,
      output_index: 0,
      item: { id: 'msg_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] },
    }),
    sse('response.content_part.added', {
      sequence_number: 2,
      item_id: 'msg_1',
      output_index: 0,
      content_index: 0,
      part: { type: 'output_text', text: '', annotations: [] },
    }),
    sse('response.output_text.delta', {
      sequence_number: 3,
      item_id: 'msg_1',
      output_index: 0,
      content_index: 0,
      delta: 'Hel',
    }),
    sse('response.failed', {
      sequence_number: 4,
      response: {
        id: 'resp_1',
        object: 'response',
        status: 'failed',
        error: { code: 'server_error', message: 'Overloaded by the moon' },
        output: [],
      },
    }),
  ],
} as const;

const dialectOf = (provider: string, api: Api) =>
  provider === 'claude' ? 'anthropic' : provider === 'gpt' || api === 'completions' ? 'chat' : 'responses';

const providers = ['claude', 'gpt', 'openai'];

const routes = Object.fromEntries(
  providers.map((provider) => [
    `${provider}-idle-*`,
    { targets: [{ provider, timeouts: { idle_ms: 300 } }], attempts_max: 1 },
  ]),
);

describeSdks(
  (suite) => {
    beforeEach(() => suite().mock.reset());

    describe.each(apis)('%s', (api) => {
      const ask = (model: string) => asking(api, model, hello);
      const seen = async () => (await suite().mock.requests()).length;

      describe.each(providers)('of %s', (provider) => {
        describe.each(['events', 'stream'] as const)('by %s', (how) => {
          const method = `${api}.${how}` as const;
          const breaks = [
            ['is cut', 'broken', { cutAfter: 5 }, 'upstream_error', /broke the connection|ended/],
            ['is garbled', 'garbled', { malformedAt: 5 }, 'upstream_error', /JSON|broke|ended/],
            ['falls silent', 'idle', { stallAfter: 5 }, 'deadline_exceeded', /0\.3 s/],
          ] as const;

          test.each(breaks)(
            'raises where the answer %s, and asks no more',
            async (_what, name, script, code, words) => {
              const model = newName(`${provider}-${name}`);
              await suite().mock.script({ model, ...script });
              const failure = await suite().fail(method, ask(model), { maxRetries: 2 });
              expect(failure.classes).toContain('APIError');
              expect(failure).toMatchObject({
                code,
                message: expect.stringMatching(words),
                requestId: expect.stringMatching(/^req_/),
              });
              expect(await seen()).toBe(1);
            },
          );

          // OpenAI's own `response.failed` passes as it came: for its SDKs that is an event, no error.
          const passes = api === 'responses' && provider === 'openai';
          if (!passes) {
            test('raises an error that the provider tells in the stream, in its words', async () => {
              const model = newName(provider);
              const chunks = [...failing[dialectOf(provider, api)]];
              await suite().mock.script({ model, reply: { headers: { 'content-type': 'text/event-stream' }, chunks } });
              const failure = await suite().fail(method, ask(model), { maxRetries: 2 });
              expect(failure.message).toContain('Overloaded by the moon');
              expect(failure.classes).toContain('APIError');
              expect(await seen()).toBe(1);
            });
          }

          test('raises when a kill switch ends the answer', async () => {
            const { agentId, secret } = await suite().gate.agent(newName('agent'));
            const model = newName(provider);
            await suite().mock.script({ model, tokens: 1_000, tokensPerSecond: 20 });
            const stopped = suite().fail(method, ask(model), { apiKey: secret, maxRetries: 2 });
            await suite().mock.until(([request]) => (request?.chunksSent ?? 0) > 4);
            const kill = { scope: 'KILL_SCOPE_AGENT', value: agentId, reason: 'enough of this' };
            await suite().gate.api('PolicyService/EngageKillSwitch', kill);
            const failure = await stopped;
            expect(failure.classes).toContain('APIError');
            expect(failure).toMatchObject({ code: 'killed', message: expect.stringContaining('enough of this') });
            expect(await seen()).toBe(1);
          });
        });
      });

      describe.each(['events', 'stream'] as const)(
        'by %s, while the provider is silent and the gate shows that it lives',
        (how) => {
          const late = { firstEventMs: 300 } as const;

          test.each(providers)('gets the answer of %s', async (provider) => {
            const model = newName(provider);
            await suite().mock.script({ model, ...late, tokens: 3 });
            const { events, answer } = await suite().call(`${api}.${how}`, ask(model));
            expect(JSON.stringify(answer ?? events)).toContain('word3');
          });

          test.each(providers)('raises a refusal of %s, though the head of the stream went out', async (provider) => {
            const model = newName(provider);
            await suite().mock.script({ model, error: 429, latencyMs: 300 });
            const failure = await suite().fail(`${api}.${how}`, ask(model), { maxRetries: 2 });
            expect(failure.classes).toContain('APIError');
            expect(failure).toMatchObject({
              code: 'rate_limited',
              message: expect.stringContaining('told to answer 429'),
              requestId: expect.stringMatching(/^req_/),
            });
            expect(await seen()).toBe(1);
          });
        },
      );
    });
  },
  { models: routes, env: { STREAM_PING_MS: '100' } },
);
