import { describe, expect, test } from 'vitest';
import { sealBytesMax, toolArgumentsCharsMax, upstreamAnswerBytesMax } from '../../base/limits.ts';
import { SseFrames } from '../../net/sse.ts';
import type { Seal } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { sealToText } from '../seal.ts';
import type { AnswerEvent, StreamEvent } from '../stream-events.ts';
import { begin, calls, decode, delta, end, failureOf } from '../testing/chat-chunks.ts';
import { eventsIn } from '../testing/sse-text.ts';
import { parseRequest } from './request.ts';
import { createEncoder } from './stream.ts';

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

  test('is whole without [DONE] and without usage, which then is unknown and not zero (case 24)', () => {
    const { last, decoder } = decode(delta({ content: 'x' }), end('stop'));
    expect(last).toEqual({ type: 'finish', stop: 'end', stopSequence: null, usage: null });
    expect(decoder.usage).toBeNull();
  });

  test('that its server cuts is an error, and keeps the usage that it told so far (case 10)', () => {
    const { last, decoder } = decode({ ...delta({ content: 'x' }), usage: { prompt_tokens: 5, completion_tokens: 1 } });
    expect(failureOf(last)).toMatch(/ended the stream before the answer was complete/);
    expect(decoder.usage).toMatchObject({ input: 5, output: 1 });
  });

  test('without a finish_reason before [DONE] has a full ending, unless something is half said (cases 11 and 12)', () => {
    const { last, dropped } = decode(delta({ content: 'x' }), '[DONE]');
    expect(last).toMatchObject({ type: 'finish', stop: 'end' });
    expect(dropped).toEqual(['finish_reason']);
    expect(decode(calls(begin(0, 'a', '{}')), '[DONE]').last).toMatchObject({ type: 'finish', stop: 'tool' });
    expect(failureOf(decode(calls(begin(0, 'a', '{"x":')), '[DONE]').last)).toContain('finish_reason');
    expect(failureOf(decode('[DONE]').last)).toContain('finish_reason');
  });

  test('with an empty finish_reason in every chunk goes on until there is one', () => {
    const { blocks, last } = decode(delta({ content: 'a' }, ''), delta({ content: 'b' }, ''), end('stop'));
    expect(blocks).toEqual([{ type: 'text', text: 'ab' }]);
    expect(last).toMatchObject({ stop: 'end' });
  });

  test('with a refusal gives its text and ends as one', () => {
    const { blocks, last } = decode(delta({ refusal: 'I ' }), delta({ refusal: 'cannot.' }), end('stop'));
    expect(blocks).toEqual([{ type: 'text', text: 'I cannot.' }]);
    expect(last).toMatchObject({ stop: 'refusal' });
  });

  test.each([
    ['length', 'length'],
    ['content_filter', 'refusal'],
  ])('that ends with %s stops for %s (case 23)', (reason, stop) => {
    expect(decode(delta({ content: 'x' }), end(reason)).last).toMatchObject({ type: 'finish', stop });
  });

  test.each(['unheard_of', 'function_call', 'tool_calls'])(
    'of text that ends with "%s", which is no reason for that, is an error',
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
  ])('with the error %j ends in that error and nothing after it (cases 10 and 32)', (error, code, message) => {
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

  test('skips chunks without choices or delta, and lists what it cannot pass on (case 9)', () => {
    const { dropped, last, decoder } = decode(
      { ...end('stop'), choices: [] },
      { ...end('stop'), choices: [{ index: 0, finish_reason: null }] },
      delta({ role: 'assistant', notes: 'ünknown' }),
      delta({ content: 'x' }),
      end('stop'),
    );
    expect(last?.type).toBe('finish');
    expect(dropped).toEqual(['choices.delta.notes']);
    expect(decoder.outputBytes).toBeGreaterThanOrEqual(Buffer.byteLength('ünknownx'));
  });

  test('is the same however its bytes are cut, within a character too (case 6)', () => {
    const chunks = [delta({ content: 'häh 日' }), calls(begin(0, 'a', '{"x":"é"}')), end('tool_calls'), '[DONE]'];
    const bytes = Buffer.from(
      chunks.map((chunk) => `data: ${typeof chunk === 'string' ? chunk : JSON.stringify(chunk)}\n\n`).join(''),
    );
    const whole = decode(...chunks).events;
    for (let at = 0; at <= bytes.length; at++) {
      const frames = new SseFrames();
      const cut = [...frames.push(bytes.subarray(0, at)), ...frames.push(bytes.subarray(at))];
      expect(decode(...cut.map(({ data }) => data)).events).toEqual(whole);
    }
  });

  test('gives reasoning in a block before the text, with a seal by which its server knows it (case 18)', () => {
    const { events, blocks } = decode(
      delta({ role: 'assistant', content: '', reasoning_content: null }),
      delta({ reasoning_content: 'Let me ' }),
      delta({ reasoning_content: 'see.', content: '' }),
      delta({ content: 'Hi' }),
      end('stop'),
    );
    expect(events.slice(1, 6)).toEqual([
      { type: 'block_start', index: 0, block: { kind: 'reasoning' } },
      { type: 'reasoning_delta', index: 0, text: 'Let me ' },
      { type: 'reasoning_delta', index: 0, text: 'see.' },
      { type: 'seal', index: 0, seal: { dialect: 'chat', members: { fields: ['reasoning_content'] } } },
      { type: 'block_stop', index: 0 },
    ]);
    expect(blocks[1]).toEqual({ type: 'text', text: 'Hi' });
  });

  test('joins the pieces of the reasoning details, signatures and all', () => {
    const thought = (text: string, more: object = {}) =>
      delta({
        reasoning: text,
        reasoning_details: [{ type: 'reasoning.text', text, signature: null, index: 0, ...more }],
      });
    const encrypted = { type: 'reasoning.encrypted', data: 'x', index: 1 };
    const { blocks } = decode(
      thought('a'),
      thought('b'),
      delta({ reasoning_details: [{ type: 'reasoning.text', signature: 's', index: 0 }] }),
      delta({ reasoning_details: [encrypted] }),
      calls(begin(0, 'c', '{}')),
      end('tool_calls'),
    );
    const details = [{ type: 'reasoning.text', text: 'ab', signature: 's', index: 0 }, encrypted];
    expect(blocks[0]).toEqual({
      type: 'reasoning',
      text: 'ab',
      seal: { dialect: 'chat', members: { fields: ['reasoning'], reasoning_details: details } },
    });
  });

  test('gives proof that comes late a block of its own, and proof that is too long none', () => {
    const proof = (data: string) => delta({ reasoning_details: [{ type: 'reasoning.encrypted', data }] }, 'stop');
    expect(decode(delta({ content: 'x' }), proof('p')).blocks).toMatchObject([
      { type: 'text' },
      { type: 'reasoning', text: '', seal: { members: { reasoning_details: [{ data: 'p' }] } } },
    ]);
    const { blocks, dropped } = decode(delta({ reasoning: 'hm' }), proof('p'.repeat(sealBytesMax)));
    expect(blocks).toEqual([
      { type: 'reasoning', text: 'hm', seal: { dialect: 'chat', members: { fields: ['reasoning'] } } },
    ]);
    expect(dropped).toEqual(['reasoning_details']);
  });

  test('may say its text in parts', () => {
    const parts = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(decode(delta({ content: parts }), end('stop')).blocks).toEqual([{ type: 'text', text: 'ab' }]);
  });

  test('that its server breaks off is an error, in its words where it has any (cases 23 and 32)', () => {
    for (const reason of ['error', 'abort', 'insufficient_system_resource']) {
      expect(failureOf(decode(delta({ content: 'x' }), end(reason)).last)).toContain(reason);
    }
    const error = { code: 502, message: 'The model crashed.' };
    const told = { ...end('error'), choices: [{ index: 0, delta: {}, finish_reason: 'error', error }] };
    expect(failureOf(decode(delta({ content: 'x' }), told).last)).toBe('The model crashed.');
    const untold = { ...end('error'), choices: [{ index: 0, delta: {}, error }] };
    expect(failureOf(decode(delta({ content: 'x' }), untold).last)).toBe('The model crashed.');
  });

  test('may tell its usage early, with every chunk, or after its reason', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 2 };
    const expected = { usage: { input: 5, output: 2 } };
    expect(decode({ ...delta({ content: 'x' }), usage }, end('stop'), '[DONE]').last).toMatchObject(expected);
    expect(decode(delta({ content: 'x' }), { ...end('stop'), usage }).last).toMatchObject(expected);
    expect(
      decode(delta({ content: 'x' }), end('stop'), { ...end(''), choices: [], usage }, '[DONE]').last,
    ).toMatchObject(expected);
  });
});

const request = parseRequest({ model: 'm', messages: [{ role: 'user', content: 'x' }] }, new Losses('refuse'));

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
    const encoder = createEncoder({ createdS: 7, includeUsage, request });
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
    expect(createEncoder({ createdS: 7, includeUsage: true, request }).write({ type: 'ping' })).toBe(': ping\n\n');
  });

  describe('for a caller', () => {
    const start: AnswerEvent = { type: 'start', id: 'x', model: 'm', usage: null };
    const finish: AnswerEvent = { type: 'finish', stop: 'tool', stopSequence: null, usage: null };
    const chunksOf = (events: readonly AnswerEvent[], asked = request) => {
      const encoder = createEncoder({ createdS: 7, includeUsage: false, request: asked });
      const text = [start, ...events, finish].map((event) => encoder.write(event)).join('');
      return eventsIn(text)
        .slice(1, -2)
        .map(({ data }) => JSON.parse(data).choices[0].delta);
    };

    test('shows reasoning as it comes, and all seals in one chunk at the end, with the whole text', () => {
      const seal: Seal = { dialect: 'anthropic', members: { signature: 's' } };
      const thought = (index: number): AnswerEvent[] => [
        { type: 'block_start', index, block: { kind: 'reasoning' } },
        { type: 'reasoning_delta', index, text: 'h' },
        { type: 'reasoning_delta', index, text: 'm' },
        { type: 'seal', index, seal },
        { type: 'block_stop', index },
      ];
      const detail = { type: 'reasoning.text', text: 'hm', signature: sealToText(seal) };
      expect(chunksOf([...thought(0), ...thought(1)])).toEqual([
        { reasoning_content: 'h' },
        { reasoning_content: 'm' },
        { reasoning_content: 'h' },
        { reasoning_content: 'm' },
        {
          reasoning_details: [
            { ...detail, index: 0 },
            { ...detail, index: 1 },
          ],
        },
      ]);
    });

    test('leaves out the seal of reasoning that is longer than what comes back', () => {
      const chunks = chunksOf([
        { type: 'block_start', index: 0, block: { kind: 'reasoning' } },
        { type: 'reasoning_delta', index: 0, text: 'x'.repeat(sealBytesMax + 1) },
        { type: 'seal', index: 0, seal: { dialect: 'anthropic', members: { signature: 's' } } },
        { type: 'block_stop', index: 0 },
      ]);
      expect(chunks).toHaveLength(1);
    });

    test('keeps no more reasoning of an answer than an answer may be long', () => {
      const block = (index: number): AnswerEvent[] => [
        { type: 'block_start', index, block: { kind: 'reasoning' } },
        { type: 'reasoning_delta', index, text: 'x'.repeat(sealBytesMax) },
        { type: 'block_stop', index },
      ];
      const blocks = Array.from({ length: upstreamAnswerBytesMax / sealBytesMax + 1 }, (_, i) => block(i)).flat();
      expect(() => chunksOf(blocks)).toThrow('longer than');
    });

    test('writes the call of a tool with free text whole, and counts calls in the order of writing', () => {
      const asked = parseRequest(
        {
          model: 'm',
          messages: [{ role: 'user', content: 'x' }],
          tools: [{ type: 'custom', custom: { name: 'patch' } }],
        },
        new Losses('refuse'),
      );
      const call = (index: number, name: string): AnswerEvent => ({
        type: 'block_start',
        index,
        block: { kind: 'tool_call', id: `c${index}`, name },
      });
      const chunks = chunksOf(
        [
          call(0, 'patch'),
          { type: 'arguments_delta', index: 0, json: '{"input":"*** ' },
          call(1, 'f'),
          { type: 'arguments_delta', index: 1, json: '{}' },
          { type: 'arguments_delta', index: 0, json: 'Begin"}' },
          { type: 'block_stop', index: 0 },
          { type: 'block_stop', index: 1 },
        ],
        asked,
      );
      expect(chunks.map(({ tool_calls: [part] }) => part)).toEqual([
        { index: 0, id: 'c1', type: 'function', function: { name: 'f', arguments: '' } },
        { index: 0, function: { arguments: '{}' } },
        { index: 1, id: 'c0', type: 'custom', custom: { name: 'patch', input: '*** Begin' } },
      ]);
      const long: AnswerEvent = { type: 'arguments_delta', index: 0, json: 'x'.repeat(toolArgumentsCharsMax + 1) };
      expect(() => chunksOf([call(0, 'patch'), long], asked)).toThrow('longer than');
    });
  });
});
