import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { AssistantBlock } from '../conversation.ts';
import type { Dialect } from '../dialect.ts';
import { Losses } from '../losses.ts';
import { aConversation } from '../testing/conversations.ts';
import { readResponsesStream } from '../testing/responses-grammar.ts';
import { eventsIn } from '../testing/sse-text.ts';
import { type TranslatedRequest, translateRequest } from '../translate.ts';
import { noUsage } from '../usage.ts';
import { wireFormats } from '../wire-formats.ts';

/** A caller of Responses, and providers of the other dialects; what all dialects share is in `round-trip.test.ts`. */

type Json = Record<string, never> & { [member: string]: Json };

const capabilities = { ...fullCapabilities, maxOutputTokens: 32_000 };
const providers = ['anthropic', 'chat'] as const;

function translate(to: Dialect, body: object, from: Dialect = 'responses') {
  const target = { model: 'the-model', capabilities, lossy: 'refuse' } as const;
  const translated = translateRequest({ from, to, body, target });
  return { ...translated, request: JSON.parse(translated.body) as Json };
}

/** What the provider says, in its own dialect. */
function answerOf(to: Dialect, blocks: readonly AssistantBlock[]): Json {
  const stop = blocks.some(({ type }) => type === 'tool_call') ? 'tool' : 'end';
  const answer = { id: 'answer_1', model: 'm', blocks, stop, stopSequence: null, usage: noUsage } as const;
  return JSON.parse(wireFormats[to].writeAnswer(answer, { createdS: 1, request: aConversation() })) as Json;
}

function streamOf(to: Dialect, blocks: readonly AssistantBlock[]) {
  const encoder = wireFormats[to].createEncoder({ createdS: 1, includeUsage: true, request: aConversation() });
  let text = encoder.write({ type: 'start', id: 'answer_1', model: 'm', usage: noUsage });
  for (const [index, block] of blocks.entries()) {
    if (block.type !== 'tool_call') throw new Error('this test tells of calls alone');
    const { id, name, argumentsJson } = block;
    text += encoder.write({ type: 'block_start', index, block: { kind: 'tool_call', id, name } });
    for (const json of argumentsJson.match(/.{1,3}/gs) ?? [])
      text += encoder.write({ type: 'arguments_delta', index, json });
    text += encoder.write({ type: 'block_stop', index });
  }
  return eventsIn(text + encoder.write({ type: 'finish', stop: 'tool', stopSequence: null, usage: noUsage }));
}

/** What a legal stream says of the whole at its end. */
function streamed(translated: TranslatedRequest, to: Dialect, blocks: readonly AssistantBlock[]): string {
  const translator = translated.stream({ includeUsage: true, requestId: 'req_1' });
  const text =
    streamOf(to, blocks)
      .map((event) => translator.push(event))
      .join('') + translator.end();
  if (readResponsesStream(text).ending !== 'finished') throw new Error(text);
  return JSON.stringify((JSON.parse(eventsIn(text).at(-1)?.data ?? '') as Json)['response']);
}

const codex = JSON.parse(readFileSync(new URL('../testing/codex-request.json', import.meta.url), 'utf8')) as object;

describe.each(providers)('a caller of Responses with a provider of %s', (to) => {
  test('is Codex: nothing that it sends is refused', () => {
    const { dropped, request } = translate(to, codex);
    expect(dropped).toEqual(expect.arrayContaining(['tools.web_search', 'client_metadata', 'prompt_cache_key']));
    // Its reasoning is of another provider, and its tools have names without dots.
    expect(JSON.stringify(request)).not.toContain('ZW5j');
    expect(JSON.stringify(request)).not.toContain('multi_agent_v1.close_agent');
    expect(JSON.stringify(request)).toContain('iVBORw0KGgo');
  });

  test.each([false, true])('gets calls of the tools that it offered, each in its own way (stream: %s)', (stream) => {
    const body = {
      model: 'm',
      stream,
      input: 'hi',
      tools: [
        {
          type: 'namespace',
          name: 'crm',
          description: '',
          tools: [{ type: 'function', name: 'find', parameters: null }],
        },
        { type: 'custom', name: 'patch', format: { type: 'text' } },
      ],
    };
    const translated = translate(to, body);
    const tools = translated.request['tools'] as unknown as {
      name?: string;
      function?: { name: string };
      custom?: { name: string };
    }[];
    const names = tools.map((tool) => tool.name ?? tool.function?.name ?? tool.custom?.name ?? '');
    expect(names).toEqual([expect.stringMatching(/^crm_find_\w{12}$/), 'patch']);
    const calls = [
      { type: 'tool_call', id: 'call_1', name: names[0] ?? '', argumentsJson: '{"id":7}' },
      { type: 'tool_call', id: 'call_2', name: 'patch', argumentsJson: '{"input":"a \\"b\\"\\n"}' },
    ] as const;
    const expected = [
      { type: 'function_call', call_id: 'call_1', name: 'find', namespace: 'crm', arguments: '{"id":7}' },
      { type: 'custom_tool_call', call_id: 'call_2', name: 'patch', input: 'a "b"\n' },
    ];
    const answer = stream ? streamed(translated, to, calls) : translated.answer(answerOf(to, calls)).body;
    expect((JSON.parse(answer) as Json)['output']).toMatchObject(expected);
  });

  test('brings results of free text tools back as results of the tools that they are elsewhere', () => {
    const tools = [{ type: 'custom', name: 'patch' }];
    const input = [
      { role: 'user', content: 'hi' },
      { type: 'custom_tool_call', call_id: 'call_1', name: 'patch', input: 'a' },
      { type: 'custom_tool_call_output', call_id: 'call_1', output: 'done' },
    ];
    const { request } = translate(to, { model: 'm', input, tools });
    const parsed = wireFormats[to].parseRequest({ ...request, max_tokens: 5 }, new Losses('refuse'));
    expect(parsed.turns.slice(1)).toMatchObject([
      { blocks: [{ type: 'tool_call', name: 'patch', argumentsJson: '{"input":"a"}' }] },
      { blocks: [{ type: 'tool_result', content: [{ type: 'text', text: 'done' }] }] },
    ]);
  });

  test('sends the same bytes again as its conversation grows, so that they are in the cache', () => {
    const input: object[] = [{ role: 'developer', content: 'be brief' }];
    const tools = [{ type: 'function', name: 'f', parameters: { type: 'object', properties: {} } }, ...toolsOf(codex)];
    let before = '';
    for (let turn = 0; turn < 20; turn++) {
      input.push({ role: 'user', content: [{ type: 'input_text', text: `question ${turn}` }] });
      const body = translate(to, { model: 'm', input, tools, prompt_cache_key: `k${turn}` }).body;
      const prefix = body.slice(0, body.indexOf(`question ${turn}`));
      // The wishes of the request stand after all that is cached, or before it and never change.
      expect(prefix.startsWith(before)).toBe(true);
      before = prefix;
      input.push({ type: 'function_call', call_id: `call_${turn}`, name: 'f', arguments: `{"turn": ${turn}}` });
      input.push({ type: 'function_call_output', call_id: `call_${turn}`, output: `result ${turn}` });
      input.push({ role: 'assistant', content: [{ type: 'output_text', text: `answer ${turn}`, annotations: [] }] });
    }
  });
});

test.each(['anthropic', 'chat'] as const)(
  'a provider of Responses gets the same bytes again as a conversation of %s grows',
  (from) => {
    const messages: object[] = [];
    let before = '';
    for (let turn = 0; turn < 20; turn++) {
      messages.push({ role: 'user', content: `question ${turn}` });
      const { body, dropped } = translate('responses', { model: 'm', max_tokens: 9, messages }, from);
      expect(dropped).toEqual([]);
      const prefix = body.slice(0, body.indexOf(`question ${turn}`));
      expect(prefix.startsWith(before)).toBe(true);
      before = prefix;
      messages.push({ role: 'assistant', content: `answer ${turn}` });
    }
  },
);

function toolsOf(body: object): object[] {
  return 'tools' in body ? (body.tools as object[]) : [];
}

interface Named {
  readonly namespace?: string;
  readonly name: string;
}

const named = ({ namespace, name }: Named): Named => ({ ...(namespace !== undefined && { namespace }), name });
const canonical = ({ namespace, name }: Named) => (namespace === undefined ? name : `${namespace}.${name}`);
const legal = /^[a-zA-Z0-9_-]{1,64}$/;

/** Tools of any names, alone and in namespaces. */
const manyTools = fc.uniqueArray(
  fc
    .record({
      namespace: fc.option(fc.oneof(fc.constantFrom('fs', 'a/b'), fc.string({ minLength: 1, maxLength: 70 }))),
      name: fc.oneof(fc.constantFrom('find', 're ad'), fc.string({ minLength: 1, maxLength: 70 })),
      type: fc.constantFrom('function' as const, 'custom' as const),
    })
    .map(({ namespace, ...rest }) => ({ ...rest, ...(namespace !== null && { namespace }) })),
  { selector: canonical, minLength: 1, maxLength: 6 },
);

test('a conversation written anew for its own dialect has its tools by legal names and in their namespaces, and their calls come back', () => {
  fc.assert(
    fc.property(manyTools, (offered) => {
      const tools = offered.map(({ namespace, name, type }) =>
        namespace === undefined ? { type, name } : { type: 'namespace', name: namespace, tools: [{ type, name }] },
      );
      const called = offered.map(({ type, ...tool }, i) => ({ type: `${type}_call`, call_id: `${i}`, ...tool }));
      const made = called.map((call) =>
        call.type === 'custom_call' ? { ...call, type: 'custom_tool_call', input: 'x' } : { ...call, arguments: '{}' },
      );
      const input = [{ role: 'user', content: 'hi' }, ...made];
      const translated = translate('responses', { model: 'm', input, tools });
      // oxlint-disable-next-line typescript/no-explicit-any
      const request = translated.request as any;
      const sent: Named[] = request.tools.flatMap((tool: { type: string; name: string; tools?: Named[] }) =>
        tool.type === 'namespace'
          ? (tool.tools ?? []).map(({ name }) => ({ namespace: tool.name, name }))
          : [named(tool)],
      );
      expect(sent.map(({ namespace }) => namespace !== undefined)).toEqual(
        offered.map(({ namespace }) => namespace !== undefined),
      );
      for (const { namespace, name } of sent)
        expect([namespace ?? name, name]).toEqual([expect.stringMatching(legal), expect.stringMatching(legal)]);
      expect(request.input.slice(1).map(named)).toEqual(sent);
      const output = made.map((call, i) => ({
        type: call.type,
        call_id: call.call_id,
        ...sent[i],
        input: 'x',
        arguments: '{}',
      }));
      const told = JSON.parse(translated.answer({ id: 'r', status: 'completed', output }).body);
      expect(told.output.map(named)).toEqual(offered.map(named));
      expect(told.output.map(({ type }: { type: string }) => type)).toEqual(made.map(({ type }) => type));
    }),
  );
});
