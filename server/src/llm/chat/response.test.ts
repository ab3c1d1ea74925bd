import { describe, expect, test } from 'vitest';
import type { Answer, Conversation } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest } from './request.ts';
import { parseAnswer, writeAnswer } from './response.ts';

function parse(message: object, finish_reason: unknown = 'stop', more: object = {}) {
  const losses = new Losses('refuse', 'answer');
  const json = {
    id: 'c1',
    model: 'gpt',
    choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason }],
    ...more,
  };
  return { answer: parseAnswer(json, losses), dropped: losses.names };
}

const call = (change: object = {}) => ({
  id: 'call_1',
  type: 'function',
  function: { name: 'f', arguments: '{ "a": 1 }' },
  ...change,
});

describe('a Chat Completion', () => {
  test('gives its text, then its calls with their arguments letter by letter, its reason and its usage', () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 30,
      prompt_tokens_details: { cached_tokens: 60, cache_write_tokens: 10 },
      completion_tokens_details: { reasoning_tokens: 20 },
    };
    expect(parse({ content: 'hi', tool_calls: [call()] }, 'tool_calls', { usage }).answer).toEqual({
      id: 'c1',
      model: 'gpt',
      blocks: [
        { type: 'text', text: 'hi' },
        { type: 'tool_call', id: 'call_1', name: 'f', argumentsJson: '{ "a": 1 }' },
      ],
      stop: 'tool',
      stopSequence: null,
      usage: {
        input: 30,
        output: 30,
        cacheRead: 60,
        cacheWrite5m: 10,
        cacheWrite1h: 0,
        reasoning: 20,
        untoldLifetime: true,
      },
    });
  });

  test('without usage has none, which is not zero', () => {
    expect(parse({ content: 'hi' }).answer.usage).toBeNull();
  });

  test('that calls tools and says "stop", or refuses and says "stop", stopped for what it did', () => {
    expect(parse({ tool_calls: [call()] }).answer.stop).toBe('tool');
    expect(parse({ content: null, refusal: 'I cannot.' }).answer).toMatchObject({
      stop: 'refusal',
      blocks: [{ text: 'I cannot.' }],
    });
  });

  test('gives a call without an id a unique one, and takes arguments that come as an object', () => {
    const bare = call({ id: null, function: { name: 'f', arguments: { a: 1 } } });
    const { blocks } = parse({ tool_calls: [bare, bare] }).answer;
    expect(blocks).toMatchObject([{ argumentsJson: '{"a":1}' }, { argumentsJson: '{"a":1}' }]);
    expect(new Set(blocks.map((block) => block.type === 'tool_call' && block.id)).size).toBe(2);
  });

  test.each(['function_call', 'unheard_of', 7])('that ended with %s cannot be translated', (reason) => {
    expect(refusalOf(() => parse({ content: 'x' }, reason)).message).toContain('finish_reason');
  });

  test.each([
    [null, 'end'],
    ['', 'end'],
    ['eos_token', 'end'],
    ['model_length', 'length'],
    ['content_filter', 'refusal'],
  ])('whose reason is %j ended with %s', (reason, stop) => {
    expect(parse({ content: 'x' }, reason).answer.stop).toBe(stop);
  });

  test('that a server broke off is an error (case 23), as is an error under status 200 (case 32)', () => {
    expect(refusalOf(() => parse({ content: 'x' }, 'error'))).toMatchObject({
      code: 'upstream_error',
      message: 'The provider broke off its answer (error).',
    });
    const error = { code: 429, message: 'Slow down.', type: 'rate_limit_error' };
    expect(refusalOf(() => parse({}, 'stop', { choices: undefined, error }))).toMatchObject({
      code: 'rate_limited',
      message: 'Slow down.',
    });
  });

  test('may say its text in parts', () => {
    const content = [
      { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] },
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    const { answer, dropped } = parse({ content });
    expect(answer.blocks).toEqual([{ type: 'text', text: 'ab' }]);
    expect(dropped).toEqual(['choices.message.content.thinking']);
    expect(refusalOf(() => parse({ content: [{ type: 'image_url' }] })).message).toContain('content[0]');
  });

  test('with a call that has no name, or no choice at all, is an upstream error', () => {
    expect(refusalOf(() => parse({ tool_calls: [call({ function: { arguments: '{}' } })] })).message).toContain(
      'tool_calls[0].function.name',
    );
    expect(refusalOf(() => parse({}, 'stop', { choices: [] }))).toMatchObject({ code: 'upstream_error' });
    expect(refusalOf(() => parseAnswer('<html>', new Losses('refuse', 'answer')))).toMatchObject({
      code: 'upstream_error',
    });
  });

  test('with content that nobody asked for is an upstream error', () => {
    expect(refusalOf(() => parse({ function_call: { name: 'f', arguments: '{}' } })).message).toContain(
      'function_call',
    );
  });

  test('lists what it holds that cannot be passed on', () => {
    expect(parse({ content: 'x', provider_notes: 'hmm', annotations: [], images: [] }).dropped).toEqual([
      'choices.message.provider_notes',
    ]);
    expect(refusalOf(() => parse({ content: 'x', images: [{}] })).message).toContain('images');
  });
});

describe('writing a Chat Completion', () => {
  const answer: Answer = { id: 'a', model: 'm', blocks: [], stop: 'end', stopSequence: null, usage: null };
  const request = (tools: object[] = []): Conversation =>
    parseRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }], tools }, new Losses('refuse'));
  const write = (change: Partial<Answer>, asked = request()) =>
    JSON.parse(writeAnswer({ ...answer, ...change }, { createdS: 7, request: asked }));

  test('joins texts, and has none beside calls alone', () => {
    const texts: Answer['blocks'] = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(write({ blocks: texts }).choices[0].message.content).toBe('ab');
    expect(write({}).choices[0].message.content).toBe('');
    const calls: Answer['blocks'] = [{ type: 'tool_call', id: 'c', name: 'f', argumentsJson: 'not json' }];
    expect(write({ blocks: calls, stop: 'tool' }).choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { content: null, tool_calls: [{ id: 'c', function: { name: 'f', arguments: 'not json' } }] },
    });
  });

  test('calls a tool that the caller offered with free text as its input as one', () => {
    const offered = request([
      { type: 'custom', custom: { name: 'patch' } },
      { type: 'function', function: { name: 'f' } },
    ]);
    const calls: Answer['blocks'] = [
      { type: 'tool_call', id: 'a', name: 'patch', argumentsJson: '{"input":"*** Begin"}' },
      { type: 'tool_call', id: 'b', name: 'f', argumentsJson: '{"input":"x"}' },
    ];
    expect(write({ blocks: calls, stop: 'tool' }, offered).choices[0].message.tool_calls).toEqual([
      { id: 'a', type: 'custom', custom: { name: 'patch', input: '*** Begin' } },
      { id: 'b', type: 'function', function: { name: 'f', arguments: '{"input":"x"}' } },
    ]);
  });

  test('tells which stop sequence matched, beside the reason that OpenAI knows', () => {
    expect(write({ stop: 'stop_sequence', stopSequence: 'END' }).choices[0]).toMatchObject({
      finish_reason: 'stop',
      stop_reason: 'END',
    });
    expect(write({}).choices[0]).not.toHaveProperty('stop_reason');
  });

  test('leaves out a usage that nobody reported', () => {
    expect(write({})).not.toHaveProperty('usage');
  });

  test.each([
    ['end', 'stop'],
    ['length', 'length'],
    ['stop_sequence', 'stop'],
    ['refusal', 'content_filter'],
  ] as const)('says of %s that it was "%s"', (stop, reason) => {
    expect(write({ stop }).choices[0].finish_reason).toBe(reason);
  });
});
