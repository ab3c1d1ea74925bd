import { beforeEach, describe, expect, test } from 'vitest';
import { type Api, apis, asking, callsOf, goingOn, textOf, tools, user } from './support/sdk-dialects.ts';
import { describeSdks } from './support/sdk-suite.ts';
import type { Json } from './support/sdks.ts';

/** What programs get of the official SDKs, given another base URL and key and nothing else, before every kind of provider. */

const models = [
  { model: 'claude-1', of: 'an Anthropic provider' },
  { model: 'gpt-1', of: 'an OpenAI-compatible provider' },
  { model: 'openai-1', of: 'OpenAI' },
  { model: 'sim', of: 'the simulated model' },
];

const endings: Readonly<Record<Api, object>> = {
  messages: { stop_reason: 'end_turn' },
  completions: { choices: [{ finish_reason: 'stop' }] },
  responses: { status: 'completed', error: null },
};

/** What the events of a stream say of its end. */
function ending(api: Api, events: readonly Json[]): Json {
  if (api === 'messages') return events.find(({ type }) => type === 'message_delta').delta;
  return api === 'responses'
    ? events.at(-1).response
    : events.findLast(({ choices: [choice] }) => choice?.finish_reason);
}

const stopped = {
  messages: {
    length: { stop_reason: 'max_tokens' },
    // OpenAI does not tell at which sequence it stopped.
    stop_sequence: { stop_reason: expect.stringMatching(/^(stop_sequence|end_turn)$/) },
    refusal: { stop_reason: 'refusal' },
  },
  completions: {
    length: { choices: [{ finish_reason: 'length' }] },
    stop_sequence: { choices: [{ finish_reason: 'stop' }] },
    refusal: { choices: [{ finish_reason: 'content_filter' }] },
  },
  responses: {
    length: { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
    stop_sequence: { status: 'completed' },
    refusal: { status: 'incomplete', incomplete_details: { reason: 'content_filter' } },
  },
} as const;

describeSdks((suite) => {
  beforeEach(() => suite().mock.reset());

  describe.each(apis)('%s', (api) => {
    describe.each(models)('before $of', ({ model }) => {
      const said = model === 'sim' ? /^\[simulated\] You said: hello$/ : /^word1 word2 .* word12$/;

      test.each(['create', 'stream'] as const)('gets an answer by %s', async (how) => {
        const rest = api === 'completions' && how === 'stream' ? { stream_options: { include_usage: true } } : {};
        const { answer, events, requestId } = await suite().call(
          `${api}.${how}`,
          asking(api, model, [user('hello')], rest),
        );
        expect(textOf(api, { answer })).toMatch(said);
        expect(answer.model).toBe(model);
        expect(answer).toMatchObject(endings[api]);
        expect(answer.usage.input_tokens ?? answer.usage.prompt_tokens).toBeGreaterThan(0);
        expect(answer.usage.output_tokens ?? answer.usage.completion_tokens).toBeGreaterThan(0);
        // The helpers of OpenAI's SDKs for streams tell no request id.
        expect(String(requestId)).toMatch(how === 'create' || api === 'messages' ? /^req_/ : /^null$/);
        expect(events.length > 4).toBe(how === 'stream');
      });

      test('iterates over the events of a stream', async () => {
        const { events, requestId } = await suite().call(`${api}.events`, asking(api, model, [user('hello')]));
        expect(requestId).toMatch(/^req_/);
        const text = {
          messages: () => events.map(({ delta }) => delta?.text ?? ''),
          completions: () => events.map(({ choices: [choice] }) => choice?.delta.content ?? ''),
          responses: () => events.map(({ type, delta }) => (type === 'response.output_text.delta' ? delta : '')),
        }[api]();
        expect(text.join('')).toMatch(said);
      });

      const stops = model === 'sim' ? [] : (['length', 'stop_sequence', 'refusal'] as const);
      test.each(stops)('is told of an end by %s, whole and in a stream', async (stop) => {
        await suite().mock.script({ model, stop, stopSequence: 'END', tokens: 3 });
        const request = asking(api, model, [user('hello')]);
        const { answer } = await suite().call(`${api}.create`, request);
        expect(answer).toMatchObject(stopped[api][stop]);
        const { events } = await suite().call(`${api}.events`, request);
        expect(ending(api, events)).toMatchObject(stopped[api][stop]);
      });

      test.each(['create', 'stream'] as const)('calls tools in several turns by %s', async (how) => {
        const rest = { tools: ['weather', 'time'].map(tools[api]) };
        await suite().mock.script({ model, toolCalls: 2, times: 1 });
        await suite().mock.script({
          model,
          times: 1,
          blocks: [
            { type: 'text', text: 'Once more.' },
            { type: 'tool_call', name: 'time', input: { city: 'Zürich' } },
          ],
        });
        const script = 'sim script:\ncall weather {"city":"mock"}\ncall time {"city":"Zürich"}\nsay word1 word2';
        const turns: unknown[] = [user(script)];
        const ask = () => suite().call(`${api}.${how}`, asking(api, model, turns, rest));
        const first = await ask();
        const calls = callsOf(api, first);
        expect(calls.map(({ name }) => name)).toEqual(model === 'sim' ? ['weather'] : ['weather', 'time']);
        expect(calls.map(({ input }) => input)).toEqual(calls.map(() => ({ city: 'mock' })));
        turns.push(
          ...goingOn(
            api,
            first,
            calls.map(({ id, name }) => [id, `the result of ${name}`]),
          ),
        );
        const second = await ask();
        const [call, ...others] = callsOf(api, second);
        expect([call?.name, call?.input, others]).toEqual(['time', { city: 'Zürich' }, []]);
        turns.push(...goingOn(api, second, [[call?.id ?? '', 'noon']]));
        const last = await ask();
        expect(callsOf(api, last)).toEqual([]);
        expect(textOf(api, last)).toContain('word1 word2');
        if (model === 'sim') return;
        const body = String((await suite().mock.requests()).at(-1)?.body);
        for (const { id, name } of calls) {
          expect(body.split(`"${id}"`)).toHaveLength(3);
          expect(body).toContain(`the result of ${name}`);
        }
        expect(body).toContain('Once more.');
        expect(body).toContain('Zürich');
      });
    });
  });
});
