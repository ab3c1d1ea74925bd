import { beforeEach, describe, expect, test } from 'vitest';
import type { ScriptInput } from './support/mock-upstream/script.ts';
import { type Api, apis, asking, callsOf, goingOn, textOf, tools, user } from './support/sdk-dialects.ts';
import { describeSdks } from './support/sdk-suite.ts';
import type { Json, Told } from './support/sdks.ts';

/** What is more than text: images, reasoning with its proofs, structured output, free text tools, and the small endpoints. */

const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const address = 'https://example.com/cat.png';

const images: Readonly<Record<Api, readonly unknown[]>> = {
  messages: [
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
    { type: 'image', source: { type: 'url', url: address } },
    { type: 'text', text: 'hello' },
  ],
  completions: [
    { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
    { type: 'image_url', image_url: { url: address } },
    { type: 'text', text: 'hello' },
  ],
  responses: [
    { type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${pixel}` },
    { type: 'input_image', detail: 'auto', image_url: address },
    { type: 'input_text', text: 'hello' },
  ],
};

/** The proof of a provider that what comes back to it as its reasoning is what it said. */
const proof = 'cHJvb2YtdGhhdC1pdC1pcy1taW5l';
const thought = 'The weather is asked for.';

const chatChunk = (delta: object, rest: object = {}) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: null, ...rest }] })}\n\n`;

const chatCall = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } };
const details = (more: object) => [{ type: 'reasoning.text', index: 0, format: 'some-v1', ...more }];

const thinking = { type: 'thinking', thinking: thought, signature: proof } as const;
const called = { type: 'tool_call', id: '1', name: 'weather', input: { city: 'Rome' } } as const;

/** Servers of Chat Completions that reason (OpenRouter's form), told to the mock word by word. */
const reasoningCompletion = (streamed: boolean): ScriptInput => ({
  reply: streamed
    ? {
        headers: { 'content-type': 'text/event-stream' },
        chunks: [
          chatChunk({
            role: 'assistant',
            content: '',
            reasoning: 'The weather',
            reasoning_details: details({ text: 'The weather' }),
          }),
          chatChunk({
            content: '',
            reasoning: ' is asked for.',
            reasoning_details: details({ text: ' is asked for.' }),
          }),
          chatChunk({ content: '', reasoning_details: details({ signature: proof }) }),
          chatChunk({ tool_calls: [{ index: 0, ...chatCall }] }),
          chatChunk({}, { finish_reason: 'tool_calls' }),
          'data: [DONE]\n\n',
        ],
      }
    : {
        headers: { 'content-type': 'application/json' },
        chunks: [
          JSON.stringify({
            id: 'c',
            object: 'chat.completion',
            created: 1,
            model: 'm',
            choices: [
              {
                index: 0,
                finish_reason: 'tool_calls',
                message: {
                  role: 'assistant',
                  content: null,
                  reasoning: thought,
                  reasoning_details: details({ text: thought, signature: proof }),
                  tool_calls: [chatCall],
                },
              },
            ],
            usage: { prompt_tokens: 5, completion_tokens: 5, total_tokens: 10 },
          }),
        ],
      },
});

/** What the provider must find in the request when its reasoning comes back. */
const provenTo: Readonly<Record<string, (body: Json) => unknown>> = {
  'claude-1': ({ messages }) => messages[1].content[0],
  'gpt-1': ({ messages }) => messages[1].reasoning_details,
  'openai-1': ({ input }) => input[1],
};
const proven: Readonly<Record<string, unknown>> = {
  'claude-1': thinking,
  'gpt-1': [{ ...details({ text: thought, signature: proof })[0] }],
  'openai-1': expect.objectContaining({
    type: 'reasoning',
    summary: [{ type: 'summary_text', text: thought }],
    encrypted_content: proof,
  }),
};

const named = Object.fromEntries(['a', 'b', 'c'].map((name) => [`named-${name}`, { targets: [{ provider: 'gpt' }] }]));

describeSdks(
  (suite) => {
    beforeEach(() => suite().mock.reset());

    async function bodies(): Promise<Json[]> {
      return (await suite().mock.requests()).map(({ body }) => JSON.parse(String(body)));
    }

    describe.each(apis)('%s', (api) => {
      test.each(['claude-1', 'gpt-1', 'openai-1'])('shows images to %s', async (model) => {
        const told = await suite().call(`${api}.create`, asking(api, model, [user(images[api])]));
        expect(textOf(api, told)).toMatch(/^word1 /);
        const [body] = await bodies();
        expect(JSON.stringify(body)).toContain(pixel);
        expect(JSON.stringify(body)).toContain(address);
      });

      // The openai kind speaks Chat Completions too, and its vendor shows no reasoning in them.
      const reasoners = ['claude-1', 'gpt-1', 'openai-1'].filter(
        (model) => api !== 'completions' || model !== 'openai-1',
      );
      describe.each(reasoners)('with the reasoning of %s', (model) => {
        // Of a member that it does not know the helper of JavaScript keeps the last piece, that of Python joins all; where
        // the bytes pass as the provider sent them, that is an affair of these two.
        const ways =
          model === 'gpt-1' && api === 'completions' ? (['create'] as const) : (['create', 'stream'] as const);
        test.each(ways)('brings it back by %s, with its proof, as it came', async (how) => {
          const script = model === 'gpt-1' ? reasoningCompletion(how === 'stream') : { blocks: [thinking, called] };
          await suite().mock.script({ ...script, model, times: 1 });
          const rest = {
            messages: { thinking: { type: 'adaptive' } },
            completions: { reasoning_effort: 'medium' },
            responses: { reasoning: { effort: 'medium', summary: 'auto' }, include: ['reasoning.encrypted_content'] },
          }[api];
          const params = { ...rest, tools: [tools[api]('weather')] };
          const turns: unknown[] = [user('hello')];
          const first = await suite().call(`${api}.${how}`, asking(api, model, turns, params));
          const [call] = callsOf(api, first);
          expect(call).toMatchObject({ name: 'weather', input: { city: 'Rome' } });
          expect(JSON.stringify(first.answer)).toContain(
            how === 'stream' && api === 'completions' ? 'asked for.' : thought,
          );
          turns.push(...goingOn(api, first, [[call?.id ?? '', 'sunny']]));
          await suite().mock.script({ model, times: 1, tokens: 3 });
          const second = await suite().call(`${api}.${how}`, asking(api, model, turns, params));
          expect(textOf(api, second)).toBe('word1 word2 word3');
          const body = (await bodies()).at(-1);
          expect(provenTo[model]?.(body)).toEqual(proven[model]);
        });
      });

      test.each(['create', 'stream'] as const)(
        'brings back by %s what was thought between what was said',
        async (how) => {
          const blocks = [
            { type: 'thinking', thinking: 'First of all.', signature: `${proof}1` },
            { type: 'text', text: 'Let me see.' },
            { type: 'thinking', thinking: 'Then the weather.', signature: `${proof}2` },
          ] as const;
          const model = 'claude-1';
          await suite().mock.script({ model, times: 1, blocks: [...blocks, called] });
          const rest = { tools: [tools[api]('weather')] };
          const turns: unknown[] = [user('hello')];
          const first = await suite().call(`${api}.${how}`, asking(api, model, turns, rest));
          turns.push(...goingOn(api, first, [[callsOf(api, first)[0]?.id ?? '', 'sunny']]));
          await suite().call(`${api}.${how}`, asking(api, model, turns, rest));
          const content = (await bodies()).at(-1).messages[1].content;
          expect(content).toEqual([...blocks, expect.objectContaining({ type: 'tool_use', input: called.input })]);
        },
      );

      test.each(['claude-1', 'gpt-1', 'openai-1'])('gets structured output of %s', async (model) => {
        const output = { city: 'Rome', days: 3 };
        await suite().mock.script({ model, blocks: [{ type: 'text', text: JSON.stringify(output) }] });
        const { parsed } = await suite().call(`${api}.parse`, asking(api, model, [user('hello')]));
        expect(parsed).toEqual(output);
        expect(JSON.stringify((await bodies())[0])).toContain('"days"');
      });

      test('gets structured output of the simulated model', async () => {
        const { parsed } = await suite().call(`${api}.parse`, asking(api, 'sim', [user('hello')]));
        expect(parsed).toEqual({ city: 'simulated', days: expect.any(Number) });
      });
    });

    const freeform: Readonly<Record<'completions' | 'responses', object>> = {
      completions: { type: 'custom', custom: { name: 'shell', description: 'Runs a command.' } },
      responses: { type: 'custom', name: 'shell', description: 'Runs a command.' },
    };
    const inputOf = (api: 'completions' | 'responses', { answer }: Told): Json =>
      api === 'completions'
        ? answer.choices[0].message.tool_calls[0]
        : answer.output.find(({ type }: Json) => type === 'custom_tool_call');

    describe.each([
      ['completions', 'claude-1'],
      ['completions', 'sim'],
      ['responses', 'claude-1'],
      ['responses', 'gpt-1'],
      ['responses', 'sim'],
    ] as const)('%s of %s', (api, model) => {
      // The helper of Python knows calls of functions alone in a stream of Chat Completions.
      const ways = api === 'completions' ? (['create'] as const) : (['create', 'stream'] as const);
      test.each(ways)('calls a tool with free text by %s', async (how) => {
        const input = 'ls -la "a\\b"\n# é';
        await suite().mock.script({
          model,
          times: 1,
          blocks: [{ type: 'tool_call', name: 'shell', input: { input } }],
        });
        const script = `sim script:\ncall shell ${JSON.stringify({ input })}\nsay done`;
        const turns: unknown[] = [user(script)];
        const rest = { tools: [freeform[api]] };
        const first = await suite().call(`${api}.${how}`, asking(api, model, turns, rest));
        const call = inputOf(api, first);
        expect(api === 'completions' ? call.custom : call).toMatchObject({ name: 'shell', input });
        const id = api === 'completions' ? call.id : call.call_id;
        turns.push(
          first.said,
          api === 'completions'
            ? { role: 'tool', tool_call_id: id, content: 'a file' }
            : { type: 'custom_tool_call_output', call_id: id, output: 'a file' },
        );
        const second = await suite().call(`${api}.${how}`, asking(api, model, turns, rest));
        expect(textOf(api, second)).toMatch(model === 'sim' ? /done/ : /^word1 /);
      });
    });

    test.each(['claude-1', 'gpt-1', 'openai-1', 'sim'])('counts the tokens of a request to %s', async (model) => {
      const { answer, requestId } = await suite().call('messages.count', { model, messages: [user('hello')] });
      expect(answer.input_tokens).toBeGreaterThan(0);
      expect(requestId).toMatch(/^req_/);
    });

    test.each(['gpt-1', 'openai-1', 'sim'])('gets embeddings of %s', async (model) => {
      const { answer, requestId } = await suite().call('embeddings.create', { model, input: ['one', 'two'] });
      expect(answer).toMatchObject({ object: 'list', usage: { prompt_tokens: expect.any(Number) } });
      expect(answer.data.map(({ index, embedding }: Json) => [index, typeof embedding[1]])).toEqual([
        [0, 'number'],
        [1, 'number'],
      ]);
      expect(requestId).toMatch(/^req_/);
    });

    test('lists the same models in both families, to the end', async () => {
      const params = {};
      const { answer: ofAnthropic } = await suite().list('anthropic', params);
      const { answer: ofOpenai } = await suite().list('openai', params);
      expect(ofAnthropic).toEqual(expect.arrayContaining(['sim', 'named-a', 'named-b']));
      expect(ofOpenai).toEqual(ofAnthropic);
      expect(new Set(ofAnthropic).size).toBe(ofAnthropic.length);
      expect((await suite().list('anthropic', { limit: 2 })).answer).toEqual(ofAnthropic);
    });
  },
  { models: named },
);
