import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { sealBytesMax } from '../base/limits.ts';
import { fullCapabilities } from './capabilities.ts';
import type { Target } from './conversation.ts';
import { readAnthropicStream } from './testing/anthropic-grammar.ts';
import { readChatStream } from './testing/chat-grammar.ts';
import { claudeCodeRequest } from './testing/claude-code.ts';
import { refusalOf } from './testing/refusal.ts';
import { type StreamTranslator, draftRequest, translateRequest } from './translate.ts';

const target: Target = { model: 'served', capabilities: fullCapabilities, lossy: 'refuse' };
const options = { includeUsage: true, requestId: 'req_1' };

/** A request of a Claude Code kind, to a chat provider. */
function fromAnthropic(change: object = {}, to: Partial<Target> = {}) {
  const body = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }], ...change };
  return translateRequest({ from: 'anthropic', to: 'chat', body, target: { ...target, ...to } });
}

function fromChat(change: object = {}, to: Partial<Target> = {}) {
  const body = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }], ...change };
  return translateRequest({ from: 'chat', to: 'anthropic', body, target: { ...target, ...to } });
}

function push(translator: StreamTranslator, ...events: object[]): string {
  return events.map((event) => translator.push({ event: 'message', data: JSON.stringify(event) })).join('');
}

const chunk = (delta: object, finish_reason: string | null = null) => ({
  id: 'c1',
  model: 'gpt',
  choices: [{ index: 0, delta, finish_reason }],
});
const callStart = (index: number, id: string | null, name: string, args = '') => ({
  index,
  id,
  function: { name, arguments: args },
});

describe('that the model may reason unseen', () => {
  const disabled = { thinking: { type: 'disabled' } };
  const untold = { capabilities: { ...fullCapabilities, reasoning: 'none' as const } };

  test.each([
    ['a chat model that is told nothing', fromAnthropic(), true],
    ['a chat model that is told not to', fromAnthropic(disabled), false],
    ['a chat model that cannot be told not to', fromAnthropic(disabled, untold), true],
    ['a Claude that is told nothing', fromChat(), false],
    ['a Claude that is told to', fromChat({ reasoning_effort: 'low' }), true],
    ['a Claude that is told not to', fromChat({ reasoning_effort: 'none' }), false],
    ['a Claude that cannot be told to', fromChat({ reasoning_effort: 'low', temperature: 0.5 }), false],
  ])('is said by what is written in its own dialect: %s', (_who, { mayReason }, expected) => {
    expect(mayReason).toBe(expected);
  });
});

describe('reasoning that a caller brings back', () => {
  const answer = {
    id: 'c1',
    model: 'm',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'Hi.', reasoning_content: 'Hm.' }, finish_reason: 'stop' },
    ],
  };
  const { content } = JSON.parse(fromAnthropic({}, { provider: 'lab' }).answer(answer).body) as { content: object[] };
  const messages = [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content },
    { role: 'user', content: 'go on' },
  ];

  test('goes to the server that wrote it, and to no other of its dialect', () => {
    const own = fromAnthropic({ messages }, { provider: 'lab' });
    expect(JSON.parse(own.body).messages[1]).toMatchObject({ content: 'Hi.', reasoning_content: 'Hm.' });
    const other = fromAnthropic({ messages }, { provider: 'other' });
    expect(JSON.parse(other.body).messages[1]).toEqual({ role: 'assistant', content: 'Hi.' });
    expect([own.dropped, other.dropped]).toEqual([[], ['reasoning']]);
  });

  test('is shown without a seal that is too long to come back', () => {
    const signature = 's'.repeat(sealBytesMax);
    const told = fromChat().answer({
      type: 'message',
      content: [{ type: 'thinking', thinking: 'Hm.', signature }],
      stop_reason: 'end_turn',
    });
    expect(JSON.parse(told.body).choices[0].message).toEqual({
      role: 'assistant',
      content: '',
      refusal: null,
      reasoning_content: 'Hm.',
    });
    expect(told.dropped).toEqual(['reasoning']);
    const stream = fromChat().stream(options);
    const text = push(
      stream,
      { type: 'message_start', message: { id: 'm', model: 'm' } },
      { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: 'Hm.', signature } },
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' } },
      { type: 'message_stop' },
    );
    expect(text).toContain('Hm.');
    expect(text.length).toBeLessThan(10_000);
  });
});

describe('a translated request', () => {
  test('names the model that is served and says what was dropped', () => {
    const { body, dropped } = fromAnthropic({ top_k: 5, container: 'c_1' }, { lossy: 'allow' });
    expect(JSON.parse(body)).toEqual({
      model: 'served',
      messages: [{ role: 'user', content: 'hi' }],
      max_completion_tokens: 10,
    });
    expect(dropped).toEqual(['top_k', 'container']);
  });

  test('shortens tool names that the other side does not take, in definitions, choice and history, and restores them', () => {
    const name = `mcp__${'x'.repeat(80)}`;
    const dotted = 'fs.read';
    const translated = fromAnthropic({
      tools: [name, dotted, 'plain'].map((each) => ({ name: each, input_schema: { type: 'object' } })),
      tool_choice: { type: 'tool', name },
      messages: [
        { role: 'user', content: 'go' },
        { role: 'assistant', content: [{ type: 'tool_use', id: '1', name, input: {} }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: '1', content: 'r' }] },
      ],
    });
    const body = JSON.parse(translated.body);
    const [short, clean, plain] = body.tools.map((tool: { function: { name: string } }) => tool.function.name);
    expect(short).toMatch(/^mcp__x+_[0-9a-f]{12}$/);
    expect(short).toHaveLength(64);
    expect(clean).toMatch(/^fs_read_[0-9a-f]{12}$/);
    expect(plain).toBe('plain');
    expect(body.tool_choice.function.name).toBe(short);
    expect(body.messages[1].tool_calls[0].function.name).toBe(short);

    const answer = {
      choices: [
        {
          message: { tool_calls: [{ id: 'c', function: { name: short, arguments: '{}' } }] },
          finish_reason: 'tool_calls',
        },
      ],
    };
    expect(JSON.parse(translated.answer(answer).body).content[0].name).toBe(name);
    const text = push(translated.stream(options), chunk({ tool_calls: [callStart(0, 'c', clean, '{}')] }));
    expect(text).toContain(`"name":"${dotted}"`);
  });

  test('makes ids of calls legal and unique, and its results follow', () => {
    const turn = (id: string, result: string) => [
      { role: 'assistant', tool_calls: [{ id, type: 'function', function: { name: 'f', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: id, content: result },
    ];
    const messages = [
      { role: 'user', content: 'go' },
      ...turn('call_0', 'a'),
      ...turn('call_0', 'b'),
      ...turn('functions.f:0', 'c'),
    ];
    const sent = JSON.parse(fromChat({ messages }).body).messages;
    const ids = [1, 3, 5].map((i) => sent[i].content[0].id);
    expect(ids[0]).toBe('call_0');
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[a-zA-Z0-9_-]{1,40}$/);
    expect([2, 4, 6].map((i) => sent[i].content[0].tool_use_id)).toEqual(ids);
  });

  test('gets two calls of one id as calls of two, whole and as a stream, so that each result has its own', () => {
    const ids = ['call_0', 'call_0', 'call_0_2', 'call_0'];
    const made = ids.map((id, i) => callStart(i, id, 'f', '{}'));
    const whole = fromAnthropic().answer({ choices: [{ message: { tool_calls: made }, finish_reason: 'tool_calls' }] });
    const blocks: { id: string }[] = JSON.parse(whole.body).content;
    const told = blocks.map(({ id }) => id);
    expect(new Set(told).size).toBe(4);
    expect(told[0]).toBe('call_0');
    const translator = fromAnthropic().stream(options);
    const text = push(translator, chunk({ tool_calls: made }), chunk({}, 'tool_calls')) + translator.end();
    expect(readAnthropicStream(text).blocks).toMatchObject(told.map((id) => ({ type: 'tool_call', id })));
  });

  test('without tools has none (case 21), and a tool result without its call is refused by its id (case 16)', () => {
    expect(JSON.parse(fromAnthropic().body)).not.toHaveProperty('tools');
    const orphan = {
      messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_9', content: 'r' }] }],
    };
    expect(refusalOf(() => fromAnthropic(orphan, { lossy: 'allow' })).message).toContain('"toolu_9"');
  });

  test('with an image to a model without vision is refused, before anything is sent (case 17)', () => {
    const image = { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'x' } }] }] };
    const blind = { capabilities: { ...fullCapabilities, images: false } };
    expect(refusalOf(() => fromAnthropic(image, blind)).members.param).toBe('image');
    expect(fromAnthropic(image).body).toContain('"image_url"');
  });

  test('may say no more than its model can, however much the window has left', () => {
    const draft = draftRequest({
      from: 'anthropic',
      to: 'chat',
      body: { model: 'm', max_tokens: 64_000, messages: [{ role: 'user', content: 'hi' }] },
      target: { ...target, capabilities: { ...fullCapabilities, maxOutputTokens: 8_192 } },
    });
    const limits = [100_000, 5_000].map((left) => {
      const { body, maxOutputTokens } = draft.write(draft.conversation, left);
      return [maxOutputTokens, JSON.parse(body).max_completion_tokens];
    });
    expect(limits).toEqual([
      [8_192, 8_192],
      [5_000, 5_000],
    ]);
  });

  test('that begins the answer itself is refused, as nobody but Anthropic goes on with it, and listed with leave', () => {
    const begun = {
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'It is' },
      ],
    };
    expect(refusalOf(() => fromAnthropic(begun))).toMatchObject({
      code: 'invalid_argument',
      members: { param: 'messages' },
    });
    const { body, dropped } = fromAnthropic(begun, { lossy: 'allow' });
    expect(dropped).toEqual(['messages']);
    expect(JSON.parse(body).messages.at(-1)).toEqual({ role: 'assistant', content: 'It is' });
    expect(JSON.parse(fromChat(begun).body).messages.at(-1)).toMatchObject({ role: 'assistant' });
  });

  test('lists no more names than fit in a header, and only header characters', () => {
    const body = Object.fromEntries(
      Array.from({ length: 100 }, (_, i) => [`field ${i}\r\nx-evil: ${'é'.repeat(200)}`, 1]),
    );
    const { dropped } = fromAnthropic(body, { lossy: 'allow' });
    expect(dropped).toHaveLength(32);
    for (const name of dropped) expect(name).toMatch(/^[\x21-\x2b\x2d-\x7e]{1,100}$/);
  });
});

describe.each(['chat', 'responses'] as const)('a request of Claude Code to a provider that speaks %s', (to) => {
  test('passes on a route that allows no losses, and lists the hints that were left out', () => {
    const translated = translateRequest({ from: 'anthropic', to, body: claudeCodeRequest, target });
    for (const kept of [
      'do things',
      'Answer in English.',
      'The tool WebFetch is loaded.',
      'iVBORw0KGgo=',
      'Exit code 3',
    ]) {
      expect(translated.body).toContain(kept);
    }
    expect(translated.body).toMatch(/"(reasoning_effort|effort)":"high"/);
    expect(translated.dropped).toEqual(
      expect.arrayContaining(['tools.defer_loading', 'context_management.edits', 'cache_control', 'reasoning']),
    );
  });

  test('passes to a model that can do little, but for its image', () => {
    const little = {
      ...fullCapabilities,
      parallelTools: false,
      toolSchemas: 'basic',
      reasoning: 'none',
      documents: false,
    } as const;
    const request = {
      from: 'anthropic',
      to,
      body: claudeCodeRequest,
      target: { ...target, capabilities: little },
    } as const;
    expect(translateRequest(request).dropped).toContain('tools.schema');
    const blind = { ...target, capabilities: { ...little, images: false } };
    expect(refusalOf(() => translateRequest({ ...request, target: blind })).members.param).toBe('image');
  });
});

describe('a translated answer', () => {
  test('has an id and a model even where the provider gave none', () => {
    const answer = { choices: [{ message: { content: 'hi' }, finish_reason: 'stop' }] };
    expect(JSON.parse(fromAnthropic().answer(answer).body)).toMatchObject({
      id: expect.stringMatching(/^gen_/),
      model: 'served',
    });
  });

  test('reports usage as the provider did, cached tokens apart, and none where it did not (case 24)', () => {
    const usage = { prompt_tokens: 10, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 6 } };
    const answer = { id: 'x', model: 'y', choices: [{ message: { content: 'hi' }, finish_reason: 'stop' }] };
    const told = fromAnthropic().answer({ ...answer, usage });
    expect(told.usage).toMatchObject({ input: 4, cacheRead: 6, output: 2 });
    expect(JSON.parse(told.body).usage).toMatchObject({
      input_tokens: 4,
      cache_read_input_tokens: 6,
      output_tokens: 2,
    });
    expect(fromAnthropic().answer(answer).usage).toBeNull();
  });
});

describe('a translated stream', () => {
  test('writes nothing after its end, nor after an error of the gate', () => {
    const translator = fromAnthropic().stream(options);
    const text =
      push(translator, chunk({ content: 'x' }), chunk({}, 'stop')) + translator.push({ event: '', data: '[DONE]' });
    expect(readAnthropicStream(text).ending).toBe('finished');
    expect([translator.finished, translator.failed]).toEqual([true, false]);
    const late = new PortcullisError('killed', 'Stopped.');
    expect(push(translator, chunk({ content: 'y' })) + translator.end() + translator.fail(late, 'req_1')).toBe('');
    expect([translator.finished, translator.failed]).toEqual([true, false]);
  });

  test('is ended by the gate with one error event that carries the request id, open blocks or not', () => {
    for (const deltas of [[], [chunk({ content: 'x' })], [chunk({ tool_calls: [callStart(0, 'a', 'f', '{')] })]]) {
      const translator = fromAnthropic().stream(options);
      const text =
        push(translator, ...deltas) +
        translator.fail(new PortcullisError('killed', 'Stopped by an operator.'), 'req_9');
      expect(readAnthropicStream(text).ending).toBe('failed');
      expect(text).toContain('req_9');
      expect(text).toContain('Stopped by an operator.');
      expect(translator.end() + push(translator, chunk({ content: 'y' }))).toBe('');
      expect([translator.finished, translator.failed]).toEqual([false, true]);
    }
  });

  test('that the provider cuts becomes one error event in the client’s dialect, with what was used so far (case 10)', () => {
    const translator = fromChat().stream(options);
    const text =
      push(
        translator,
        { type: 'message_start', message: { id: 'a', model: 'm', usage: { input_tokens: 7, output_tokens: 1 } } },
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
        { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'häh' } },
      ) + translator.end();
    expect(readChatStream(text)).toMatchObject({ ending: 'failed', blocks: [{ text: 'häh' }] });
    expect(translator.failed).toBe(true);
    expect(translator.usage).toMatchObject({ input: 7, output: 1 });
    expect(translator.outputBytes).toBeGreaterThanOrEqual(4);
  });

  test('of interleaved tool calls reaches a client that cannot interleave one call after the other, text after them (cases 7, 8)', () => {
    const translator = fromAnthropic().stream(options);
    const part = (index: number, args: string) => ({ index, function: { arguments: args } });
    const text =
      push(
        translator,
        chunk({ tool_calls: [callStart(0, 'a', 'f', '{"x"')] }),
        chunk({ tool_calls: [callStart(1, 'b', 'g', '{"y"')] }),
        chunk({ tool_calls: [part(0, ':1}'), part(1, ':2}')] }),
        chunk({ content: 'done' }),
        chunk({}, 'tool_calls'),
      ) + translator.end();
    expect(readAnthropicStream(text)).toMatchObject({
      ending: 'finished',
      stop: 'tool_use',
      blocks: [
        { id: 'a', name: 'f', argumentsJson: '{"x":1}', closed: true },
        { id: 'b', name: 'g', argumentsJson: '{"y":2}', closed: true },
        { type: 'text', text: 'done', closed: true },
      ],
    });
  });

  test.each([
    ['no arguments', [chunk({ tool_calls: [callStart(0, 'a', 'f')] }), chunk({}, 'tool_calls')]],
    ['arguments that are no object', [chunk({ tool_calls: [callStart(0, 'a', 'f', '"x"')] }), chunk({}, 'tool_calls')]],
    [
      'arguments cut short without a word',
      [chunk({ tool_calls: [callStart(0, 'a', 'f', '{"x":')] }), chunk({}, 'stop')],
    ],
    ['a call that has no name', [chunk({ tool_calls: [callStart(0, 'a', '', '{}')] })]],
  ])('with %s is an error: no call is ever made up', (_, chunks) => {
    const translator = fromAnthropic().stream(options);
    const text = push(translator, ...chunks) + translator.end();
    expect(readAnthropicStream(text).ending).toBe('failed');
    expect(text).not.toContain('message_stop');
  });

  test('passes pings on, as events to one client and as comments to the other', () => {
    const start = { type: 'message_start', message: { id: 'a', model: 'm', usage: {} } };
    expect(push(fromChat().stream(options), start, { type: 'ping' })).toMatch(/: ping\n\n$/);
  });

  test('has usage for a chat client only if it asked', () => {
    const events = [
      { type: 'message_start', message: { id: 'a', model: 'm', usage: { input_tokens: 7, output_tokens: 1 } } },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } },
      { type: 'message_stop' },
    ];
    const asked = push(fromChat().stream(options), ...events);
    expect(readChatStream(asked).usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 3 });
    expect(push(fromChat().stream({ ...options, includeUsage: false }), ...events)).not.toContain('usage');
  });
});
