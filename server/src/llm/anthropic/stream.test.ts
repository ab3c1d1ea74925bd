import { describe, expect, test } from 'vitest';
import { toolArgumentsCharsMax } from '../../base/limits.ts';
import { Losses } from '../losses.ts';
import type { AnswerEvent, StreamEvent } from '../stream-events.ts';
import { readAnthropicStream } from '../testing/anthropic-grammar.ts';
import { refusalOf } from '../testing/refusal.ts';
import { blocksOf } from '../testing/stream-content.ts';
import { createDecoder, createEncoder } from './stream.ts';

const usage = {
  input_tokens: 10,
  output_tokens: 1,
  cache_read_input_tokens: 3,
  cache_creation_input_tokens: 7,
  cache_creation: { ephemeral_5m_input_tokens: 5, ephemeral_1h_input_tokens: 2 },
};
const start = {
  type: 'message_start',
  message: { id: 'msg_1', model: 'claude', role: 'assistant', content: [], usage },
};
const open = (index: number, content_block: object) => ({ type: 'content_block_start', index, content_block });
const delta = (index: number, value: object) => ({ type: 'content_block_delta', index, delta: value });
const stop = (index: number) => ({ type: 'content_block_stop', index });
const end = (stop_reason: string, more: object = {}) => [
  { type: 'message_delta', delta: { stop_reason, stop_sequence: null, ...more }, usage: { output_tokens: 9 } },
  { type: 'message_stop' },
];
const text = { type: 'text', text: '' };
const tool = (input: unknown = {}) => ({ type: 'tool_use', id: 'toolu_1', name: 'f', input });

function decode(events: readonly object[], lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy, 'answer');
  const decoder = createDecoder(losses);
  const decoded = [
    ...events.flatMap((event) => decoder.event({ event: 'any', data: JSON.stringify(event) })),
    ...decoder.end(),
  ];
  return { events: decoded, last: decoded.at(-1), blocks: blocksOf(decoded), dropped: losses.names, decoder };
}

function failureOf(last: StreamEvent | undefined): string {
  if (last?.type !== 'error') throw new Error(`ended with ${last?.type}`);
  return last.error.message;
}

describe('a stream of Messages events', () => {
  test('gives its blocks, its reason and the usage of start and end together', () => {
    const { blocks, last, events } = decode([
      start,
      { type: 'ping' },
      open(0, text),
      delta(0, { type: 'text_delta', text: 'hi' }),
      stop(0),
      open(1, tool()),
      delta(1, { type: 'input_json_delta', partial_json: '' }),
      delta(1, { type: 'input_json_delta', partial_json: '{"a":' }),
      delta(1, { type: 'input_json_delta', partial_json: '1}' }),
      stop(1),
      ...end('tool_use'),
    ]);
    expect(blocks).toEqual([
      { type: 'text', text: 'hi' },
      { type: 'tool_call', id: 'toolu_1', name: 'f', argumentsJson: '{"a":1}' },
    ]);
    expect(last).toEqual({
      type: 'finish',
      stop: 'tool',
      stopSequence: null,
      usage: { input: 10, output: 9, cacheRead: 3, cacheWrite5m: 5, cacheWrite1h: 2, reasoning: 0 },
    });
    expect(events.some(({ type }) => type === 'ping')).toBe(true);
  });

  test('gives the input of a call without deltas as one piece: the empty object, or what its start held (cases 2 to 4)', () => {
    const call = (input: unknown) => decode([start, open(0, tool(input)), stop(0), ...end('tool_use')]).blocks;
    expect(call({})).toMatchObject([{ argumentsJson: '{}' }]);
    expect(call({ a: 1 })).toMatchObject([{ argumentsJson: '{"a":1}' }]);
    expect(failureOf(decode([start, open(0, tool(null)), stop(0), ...end('tool_use')]).last)).toContain('input');
  });

  test('gives thinking in pieces, then its seal once, and counts its bytes', () => {
    const { events, blocks, dropped, decoder, last } = decode([
      start,
      open(0, { type: 'thinking', thinking: '', signature: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'h', estimated_tokens: 5 }),
      delta(0, { type: 'thinking_delta', thinking: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'mm' }),
      delta(0, { type: 'signature_delta', signature: 'first' }),
      delta(0, { type: 'signature_delta', signature: 'portcullis.1.last' }),
      stop(0),
      open(1, { type: 'redacted_thinking', data: 'Emw' }),
      stop(1),
      open(2, { type: 'thinking', thinking: '', signature: '' }),
      delta(2, { type: 'signature_delta', signature: 'hidden' }),
      stop(2),
      open(3, text),
      delta(3, { type: 'text_delta', text: 'hi' }),
      stop(3),
      ...end('end_turn'),
    ]);
    const seal = (members: object) => ({ dialect: 'anthropic', members });
    expect(blocks).toEqual([
      { type: 'reasoning', text: 'hmm', seal: seal({ signature: 'portcullis.1.last' }) },
      { type: 'reasoning', text: '', seal: seal({ redacted: 'Emw' }) },
      { type: 'reasoning', text: '', seal: seal({ signature: 'hidden' }) },
      { type: 'text', text: 'hi' },
    ]);
    expect(events.filter(({ type }) => type === 'reasoning_delta')).toHaveLength(2);
    expect(dropped).toEqual([]);
    expect(decoder.outputBytes).toBeGreaterThanOrEqual(8);
    expect(last?.type).toBe('finish');
  });

  test('with a call without an id gives it one, and without a name is an error (case 1)', () => {
    const call = (id: unknown, name: unknown) =>
      decode([start, open(0, { type: 'tool_use', id, name, input: {} }), stop(0), ...end('tool_use')]);
    expect(call(null, 'f').blocks).toMatchObject([{ id: expect.stringMatching(/^toolu_/), name: 'f' }]);
    expect(failureOf(call('a', '').last)).toContain('name');
  });

  test('with a block that no other dialect has is an error, or on a lossy route lacks it', () => {
    const events = [
      start,
      open(0, { type: 'server_tool_use', id: 's', name: 'web_search', input: {} }),
      stop(0),
      ...end('end_turn'),
    ];
    expect(failureOf(decode(events).last)).toContain('server_tool_use');
    expect(decode(events, 'allow')).toMatchObject({ dropped: ['content_block'], last: { type: 'finish' } });
  });

  test('skips types of events that it does not know (case 9)', () => {
    expect(decode([start, { type: 'billing', amount: 1 }, ...end('end_turn')]).last?.type).toBe('finish');
  });

  test.each([
    [
      'a delta of another type than its block',
      [start, open(0, text), delta(0, { type: 'input_json_delta', partial_json: '{' })],
    ],
    ['thinking in a text block', [start, open(0, text), delta(0, { type: 'thinking_delta', thinking: 'x' })]],
    [
      'a signature in a text block',
      [start, open(0, text), delta(0, { type: 'signature_delta', signature: 's' }), stop(0)],
    ],
    [
      'a signature outside any block',
      [start, delta(7, { type: 'signature_delta', signature: 's' }), ...end('end_turn')],
    ],
    [
      'two blocks of thinking side by side',
      [
        start,
        ...[0, 1].map((at) => open(at, { type: 'thinking', thinking: '' })),
        ...[0, 1].map(stop),
        ...end('end_turn'),
      ],
    ],
    [
      'longer inputs of open calls than are kept',
      [
        start,
        ...[0, 1].map((at) => open(at, tool({ x: 'y'.repeat(toolArgumentsCharsMax / 2) }))),
        ...[0, 1].map(stop),
        ...end('tool_use'),
      ],
    ],
    ['a delta outside any block', [start, delta(0, { type: 'text_delta', text: 'x' })]],
    ['a block before the start', [open(0, text)]],
    ['a block that begins twice', [start, open(0, text), stop(0), open(0, text)]],
    ['an end with an open block', [start, open(0, text), ...end('end_turn')]],
    ['an end without a reason', [start, { type: 'message_stop' }]],
    ['a reason that is none', [start, ...end('because')]],
    ['a pause that only its vendor can continue', [start, ...end('pause_turn')]],
  ])('with %s is an error', (_, events) => {
    const { last } = decode(events);
    expect(last).toMatchObject({ type: 'error', error: { code: 'upstream_error' } });
  });

  test('with an error event ends in that error, by its class and with its words (case 32)', () => {
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
    expect(decode([start, open(0, text), error, stop(0)]).last).toMatchObject({
      type: 'error',
      error: { code: 'unavailable', message: 'Overloaded' },
    });
  });

  test('that is cut after its reason is whole, and before it is an error (cases 10 to 12)', () => {
    const whole = [start, open(0, text), delta(0, { type: 'text_delta', text: 'hi' }), stop(0), ...end('end_turn')];
    expect(decode(whole.slice(0, -1)).last?.type).toBe('finish');
    expect(decode(whole.slice(0, -2)).last?.type).toBe('error');
    expect(decode([]).last?.type).toBe('error');
  });
});

describe('writing a stream of Messages events', () => {
  const begin: AnswerEvent[] = [
    { type: 'start', id: 'a', model: 'm', usage: null },
    { type: 'block_start', index: 0, block: { kind: 'tool_call', id: 'c0', name: 'f' } },
  ];
  const finish = (stopped: 'tool' | 'length'): AnswerEvent => ({
    type: 'finish',
    stop: stopped,
    stopSequence: null,
    usage: null,
  });

  test('tells the true input at the end where the start could not know it', () => {
    const encoder = createEncoder();
    const first = encoder.write({ type: 'start', id: 'a', model: 'm', usage: null });
    const last = encoder.write({
      type: 'finish',
      stop: 'end',
      stopSequence: null,
      usage: { input: 5, output: 6, cacheRead: 7, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 2 },
    });
    expect(first).toContain('"input_tokens":0');
    expect(readAnthropicStream(first + last).usage).toMatchObject({
      input_tokens: 5,
      output_tokens: 6,
      cache_read_input_tokens: 7,
    });
  });

  test('refuses to end well with arguments that are no object, and never closes that block', () => {
    for (const bad of ['', '[]', '{"a":']) {
      const encoder = createEncoder();
      const open_ = [
        ...begin,
        ...(bad === '' ? [] : [{ type: 'arguments_delta', index: 0, json: bad } as const]),
        { type: 'block_stop', index: 0 } as const,
      ];
      const written = open_.map((event) => encoder.write(event)).join('');
      const refusal = refusalOf(() => encoder.write(finish('tool')));
      expect(refusal).toMatchObject({ code: 'upstream_error', message: expect.stringContaining('"c0"') });
      const { ending, blocks } = readAnthropicStream(written + encoder.fail(refusal, 'req_1'));
      expect(ending).toBe('failed');
      expect(blocks).toMatchObject([{ closed: false }]);
    }
  });

  test('passes arguments that the token limit cut, as the vendor does', () => {
    const encoder = createEncoder();
    const events: AnswerEvent[] = [
      ...begin,
      { type: 'block_start', index: 1, block: { kind: 'tool_call', id: 'c1', name: 'g' } },
      { type: 'arguments_delta', index: 0, json: '{"a":' },
      { type: 'arguments_delta', index: 1, json: '{"b":' },
      { type: 'block_stop', index: 0 },
      { type: 'block_stop', index: 1 },
      finish('length'),
    ];
    expect(readAnthropicStream(events.map((event) => encoder.write(event)).join(''))).toMatchObject({
      ending: 'finished',
      stop: 'max_tokens',
      blocks: [
        { argumentsJson: '{"a":', closed: true },
        { argumentsJson: '{"b":', closed: true },
      ],
    });
  });

  test('writes thinking as a block of its own before what waits for it, its signature last', () => {
    const encoder = createEncoder();
    const seal = { dialect: 'chat', members: { fields: ['reasoning'] } } as const;
    const native = { dialect: 'anthropic', members: { signature: 'EqQB' } } as const;
    const events: AnswerEvent[] = [
      { type: 'start', id: 'a', model: 'm', usage: null },
      { type: 'block_start', index: 0, block: { kind: 'reasoning' } },
      { type: 'reasoning_delta', index: 0, text: 'h' },
      { type: 'block_start', index: 1, block: { kind: 'text' } },
      { type: 'text_delta', index: 1, text: 'hi' },
      { type: 'block_start', index: 2, block: { kind: 'reasoning' } },
      { type: 'reasoning_delta', index: 2, text: 'again' },
      { type: 'seal', index: 2, seal: native },
      { type: 'block_stop', index: 2 },
      { type: 'reasoning_delta', index: 0, text: 'm' },
      { type: 'seal', index: 0, seal },
      { type: 'block_stop', index: 0 },
      { type: 'block_stop', index: 1 },
      finish('length'),
    ];
    const written = events.map((event) => encoder.write(event));
    expect(readAnthropicStream(written.join(''))).toMatchObject({
      ending: 'finished',
      blocks: [
        { type: 'reasoning', text: 'hm', seal, closed: true },
        { type: 'text', text: 'hi', closed: true },
        { type: 'reasoning', text: 'again', seal: native, closed: true },
      ],
    });
    expect(written[2]).toContain('thinking_delta');
    expect(written.slice(3, 9).join('')).toBe('');
  });

  test('holds back no more of interleaved calls than its bound', () => {
    const encoder = createEncoder();
    for (const event of begin) encoder.write(event);
    encoder.write({ type: 'block_start', index: 1, block: { kind: 'text' } });
    expect(
      refusalOf(() => encoder.write({ type: 'text_delta', index: 1, text: 'x'.repeat(toolArgumentsCharsMax + 1) }))
        .code,
    ).toBe('upstream_error');
  });
});
