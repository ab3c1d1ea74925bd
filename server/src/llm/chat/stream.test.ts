import { describe, expect, test } from 'vitest';
import { toolArgumentsCharsMax, toolCallsPerAnswerMax } from '../../base/limits.ts';
import { Losses } from '../losses.ts';
import type { StreamEvent } from '../stream-events.ts';
import { blocksOf } from '../testing/stream-content.ts';
import { createDecoder, createEncoder } from './stream.ts';

/** A chunk with this delta, as OpenAI frames it. */
const delta = (value: object, finish: string | null = null) => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta: value, finish_reason: finish }],
});
const calls = (...parts: object[]) => delta({ tool_calls: parts });
const end = (finish: string) => delta({}, finish);
const begin = (index: number | undefined, id: string | null | undefined, args = '', name = 'f') => ({
  index,
  id,
  type: 'function',
  function: { name, arguments: args },
});
const more = (index: number | undefined, args: string) => ({ index, function: { arguments: args } });

function decode(...chunks: (object | string)[]) {
  const losses = new Losses('refuse', 'answer');
  const decoder = createDecoder(losses);
  const events: StreamEvent[] = [];
  for (const chunk of chunks) {
    events.push(
      ...decoder.event({ event: 'message', data: typeof chunk === 'string' ? chunk : JSON.stringify(chunk) }),
    );
  }
  events.push(...decoder.end());
  return { events, last: events.at(-1), blocks: blocksOf(events), dropped: losses.names, decoder };
}

function failureOf(last: StreamEvent | undefined): string {
  if (last?.type !== 'error') throw new Error(`ended with ${last?.type}`);
  expect(last.error.code).toBe('upstream_error');
  return last.error.message;
}

const twoCalls = (argsOfFirst: string, argsOfSecond: string, ids: readonly [string, string]) => [
  { type: 'tool_call', id: ids[0], name: 'f', argumentsJson: argsOfFirst },
  { type: 'tool_call', id: ids[1], name: 'f', argumentsJson: argsOfSecond },
];

describe('a stream of chunks', () => {
  test('gives text, the reason and the usage that follows it', () => {
    const usage = { prompt_tokens: 10, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } };
    const { events } = decode(
      delta({ role: 'assistant', content: '' }),
      delta({ content: 'Hel' }),
      delta({ content: 'lo' }),
      end('stop'),
      { ...end('stop'), choices: [], usage },
      '[DONE]',
    );
    expect(events).toEqual([
      { type: 'start', id: 'c1', model: 'm', usage: null },
      { type: 'block_start', index: 0, block: { kind: 'text' } },
      { type: 'text_delta', index: 0, text: 'Hel' },
      { type: 'text_delta', index: 0, text: 'lo' },
      { type: 'block_stop', index: 0 },
      {
        type: 'finish',
        stop: 'end',
        stopSequence: null,
        usage: { input: 6, output: 3, cacheRead: 4, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 },
      },
    ]);
  });

  test('is whole without [DONE] and without usage, which then is unknown and not zero', () => {
    const { last, decoder } = decode(delta({ content: 'x' }), end('stop'));
    expect(last).toEqual({ type: 'finish', stop: 'end', stopSequence: null, usage: null });
    expect(decoder.usage).toBeNull();
  });

  test('keeps running totals of usage, for a stream that is cut', () => {
    const { last, decoder } = decode({ ...delta({ content: 'x' }), usage: { prompt_tokens: 5, completion_tokens: 1 } });
    expect(failureOf(last)).toMatch(/ended the stream before the answer was complete/);
    expect(decoder.usage).toMatchObject({ input: 5, output: 1 });
  });

  test('without a finish_reason before [DONE] is an error: nobody knows why it ended', () => {
    expect(failureOf(decode(delta({ content: 'x' }), '[DONE]').last)).toContain('finish_reason');
  });

  test('closes a complete call as soon as the next begins, so that clients need not wait', () => {
    const { events } = decode(
      calls(begin(0, 'a', '{}')),
      calls(begin(1, 'b')),
      calls(more(1, '{}')),
      end('tool_calls'),
    );
    expect(events.map(({ type }) => type).join(' ')).toBe(
      'start block_start arguments_delta block_stop block_start arguments_delta block_stop finish',
    );
  });

  test('keeps interleaved calls apart, one accumulator per index', () => {
    const { blocks, last } = decode(
      calls(begin(0, 'a')),
      calls(begin(1, 'b')),
      calls(more(1, '{"y":'), more(0, '{"x":')),
      calls(more(0, '1}'), more(1, '2}')),
      end('tool_calls'),
    );
    expect(blocks).toEqual(twoCalls('{"x":1}', '{"y":2}', ['a', 'b']));
    expect(last).toMatchObject({ type: 'finish', stop: 'tool' });
  });

  test('keeps calls apart by their ids where every one has index 0', () => {
    const { blocks } = decode(calls(begin(0, 'a', '{"x":1}')), calls(begin(0, 'b', '{"y":2}')), end('tool_calls'));
    expect(blocks).toEqual(twoCalls('{"x":1}', '{"y":2}', ['a', 'b']));
  });

  test('takes calls without index and id by their names, and makes each a unique id', () => {
    const { blocks } = decode(
      calls(begin(undefined, null, '{"x":1}'), begin(undefined, null, '{"y":')),
      calls(more(undefined, '2}')),
      end('tool_calls'),
    );
    const ids = blocks.map((block) => (block.type === 'tool_call' ? block.id : ''));
    expect(ids[0]).toMatch(/^call_[0-9a-f]{32}$/);
    expect(ids[1]).not.toBe(ids[0]);
    expect(blocks).toEqual(twoCalls('{"x":1}', '{"y":2}', [ids[0]!, ids[1]!]));
  });

  test('takes a call whose id and name come again with every part', () => {
    const { blocks } = decode(calls(begin(0, 'a', '{"x"')), calls(begin(0, 'a', ':1}')), end('tool_calls'));
    expect(blocks).toEqual([{ type: 'tool_call', id: 'a', name: 'f', argumentsJson: '{"x":1}' }]);
  });

  test('takes arguments that come as an object', () => {
    const part = { index: 0, id: 'a', function: { name: 'f', arguments: { x: 1 } } };
    expect(decode(calls(part), end('tool_calls')).blocks).toEqual([
      { type: 'tool_call', id: 'a', name: 'f', argumentsJson: '{"x":1}' },
    ]);
  });

  test('with a call that has no name is an error', () => {
    expect(failureOf(decode(calls({ index: 0, id: 'a', function: { arguments: '{}' } })).last)).toContain('name');
    expect(failureOf(decode(calls(begin(0, 'a', '{}', ''))).last)).toContain('name');
  });

  test('with arguments for a call that was complete is an error; white space there is not', () => {
    const start = [calls(begin(0, 'a', '{}')), calls(begin(1, 'b', '{}'))];
    expect(failureOf(decode(...start, calls(more(0, '{"x":1}'))).last)).toContain('arguments');
    expect(decode(...start, calls(more(0, ' \n')), end('tool_calls')).last?.type).toBe('finish');
  });

  test('gives text after a call a block of its own, with a higher index', () => {
    const { events } = decode(
      delta({ content: 'a' }),
      calls(begin(0, 'x', '{}')),
      delta({ content: 'b' }),
      end('stop'),
    );
    const opened = events
      .filter((event) => event.type === 'block_start')
      .map(({ index, block }) => [index, block.kind]);
    expect(opened).toEqual([
      [0, 'text'],
      [1, 'tool_call'],
      [2, 'text'],
    ]);
  });

  test('that ends with "stop" after tool calls ends for the tools', () => {
    expect(decode(calls(begin(0, 'x', '{}')), end('stop')).last).toMatchObject({ stop: 'tool' });
  });

  test('that claims tool calls and has none is an error', () => {
    expect(failureOf(decode(delta({ content: 'x' }), end('tool_calls')).last)).toContain('finish_reason');
  });

  test('with a refusal gives its text and ends as one', () => {
    const { blocks, last } = decode(delta({ refusal: 'I ' }), delta({ refusal: 'cannot.' }), end('stop'));
    expect(blocks).toEqual([{ type: 'text', text: 'I cannot.' }]);
    expect(last).toMatchObject({ stop: 'refusal' });
  });

  test.each([
    ['length', 'length'],
    ['content_filter', 'refusal'],
  ])('that ends with %s stops for %s', (reason, stop) => {
    expect(decode(delta({ content: 'x' }), end(reason)).last).toMatchObject({ type: 'finish', stop });
  });

  test.each(['error', 'eos', 'function_call'])(
    'that ends with "%s", which is no reason of this dialect, is an error',
    (reason) => {
      expect(failureOf(decode(delta({ content: 'x' }), end(reason)).last)).toContain('finish_reason');
    },
  );

  test('reports the stop sequence that a server names', () => {
    const named = { ...end('stop'), choices: [{ index: 0, delta: {}, finish_reason: 'stop', stop_reason: 'END' }] };
    expect(decode(delta({ content: 'x' }), named).last).toMatchObject({ stop: 'stop_sequence', stopSequence: 'END' });
  });

  test.each([
    [
      { error: { message: 'Slow down.', type: 'rate_limit_error', code: 'rate_limit_exceeded' } },
      'rate_limited',
      'Slow down.',
    ],
    [{ error: 'out of memory' }, 'upstream_error', 'out of memory'],
    [{ error: { code: 502, message: 'Bad gateway' } }, 'upstream_error', 'Bad gateway'],
  ])('with the error %j ends in that error and nothing after it', (error, code, message) => {
    const { events, last } = decode(delta({ content: 'x' }), error, delta({ content: 'y' }), '[DONE]');
    expect(last).toMatchObject({ type: 'error', error: { code, message } });
    expect(events.filter(({ type }) => type === 'text_delta')).toHaveLength(1);
  });

  test('with a chunk that is not JSON, or not an object, is an error', () => {
    expect(failureOf(decode(delta({ content: 'x' }), '{"choices":').last)).toContain('JSON');
    expect(failureOf(decode('[]').last)).toContain('object');
  });

  test('with content after its reason is an error; an empty delta there is not', () => {
    expect(failureOf(decode(delta({ content: 'x' }), end('stop'), delta({ content: 'y' })).last)).toContain(
      'finish_reason',
    );
    expect(decode(delta({ content: 'x' }), end('stop'), delta({ content: '' })).last?.type).toBe('finish');
  });

  test('with a second choice, or content that nobody asked for, is an error', () => {
    const second = { ...end('stop'), choices: [0, 1].map((index) => ({ index, delta: { content: 'x' } })) };
    expect(failureOf(decode(second).last)).toContain('choices[1]');
    expect(failureOf(decode(delta({ function_call: { name: 'f' } })).last)).toContain('function_call');
  });

  test('skips chunks without choices or delta, and lists what it cannot pass on', () => {
    const { dropped, last, decoder } = decode(
      { ...end('stop'), choices: [] },
      { ...end('stop'), choices: [{ index: 0, finish_reason: null }] },
      delta({ role: 'assistant', reasoning_content: 'thinking…' }),
      delta({ content: 'x' }),
      end('stop'),
    );
    expect(last?.type).toBe('finish');
    expect(dropped).toEqual(['choices.delta.reasoning_content']);
    expect(decoder.outputBytes).toBeGreaterThanOrEqual(Buffer.byteLength('thinking…x'));
  });

  test('with more calls or longer arguments than are kept is an error', () => {
    const many = Array.from({ length: toolCallsPerAnswerMax + 1 }, (_, i) => calls(begin(i, `c${i}`, '{}')));
    expect(failureOf(decode(...many).last)).toContain(String(toolCallsPerAnswerMax));
    const long = calls(more(0, ' '.repeat(toolArgumentsCharsMax)));
    expect(failureOf(decode(calls(begin(0, 'a', '{')), long).last)).toContain(String(toolArgumentsCharsMax));
  });
});

describe('writing a stream of chunks', () => {
  const whole: Exclude<StreamEvent, { type: 'error' }>[] = [
    { type: 'start', id: 'x', model: 'm', usage: null },
    { type: 'block_start', index: 0, block: { kind: 'text' } },
    { type: 'text_delta', index: 0, text: 'hi' },
    { type: 'block_stop', index: 0 },
    {
      type: 'finish',
      stop: 'end',
      stopSequence: null,
      usage: { input: 1, output: 2, cacheRead: 3, cacheWrite5m: 4, cacheWrite1h: 5, reasoning: 1 },
    },
  ];
  const write = (includeUsage: boolean) => {
    const encoder = createEncoder({ createdS: 7, includeUsage });
    return whole.map((event) => encoder.write(event)).join('');
  };

  test('adds usage only where the caller asked for it, cached tokens within the prompt', () => {
    expect(write(false)).not.toContain('usage');
    expect(write(true)).toContain(
      '"choices":[],"usage":{"prompt_tokens":13,"completion_tokens":2,"total_tokens":15,' +
        '"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":9},"completion_tokens_details":{"reasoning_tokens":1}}',
    );
  });

  test('ends with [DONE], and keeps an idle connection alive by a comment', () => {
    expect(write(true).endsWith('data: [DONE]\n\n')).toBe(true);
    expect(createEncoder({ createdS: 7, includeUsage: true }).write({ type: 'ping' })).toBe(': ping\n\n');
  });
});
