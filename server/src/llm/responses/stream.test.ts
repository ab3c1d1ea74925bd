import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { Losses } from '../losses.ts';
import type { AnswerEvent, StreamEvent } from '../stream-events.ts';
import { aConversation } from '../testing/conversations.ts';
import { readResponsesStream } from '../testing/responses-grammar.ts';
import { eventsIn } from '../testing/sse-text.ts';
import { blocksOf } from '../testing/stream-content.ts';
import { createDecoder, createEncoder } from './stream.ts';

type Event = { type: string; [member: string]: unknown };

function decode(events: readonly Event[], losses = new Losses('refuse', 'answer')): StreamEvent[] {
  const decoder = createDecoder(losses);
  const decoded = events.flatMap((event) => decoder.event({ event: event.type, data: JSON.stringify(event) }));
  return [...decoded, ...decoder.end()];
}

const created = { type: 'response.created', response: { id: 'resp_1', model: 'm', status: 'in_progress' } };
const completed = (usage: unknown = null) => ({
  type: 'response.completed',
  response: { id: 'resp_1', status: 'completed', usage },
});
const added = (at: number, item: object) => ({ type: 'response.output_item.added', output_index: at, item });
const done = (at: number, item: object) => ({ type: 'response.output_item.done', output_index: at, item });
const message = { type: 'message', id: 'msg_1', role: 'assistant', content: [] as object[] };
const call = (id: string, rest: object = {}) => ({
  type: 'function_call',
  id: `fc_${id}`,
  call_id: id,
  name: 'f',
  arguments: '',
  ...rest,
});
const text = (delta: string, part = 0, at = 0) => ({
  type: 'response.output_text.delta',
  output_index: at,
  content_index: part,
  delta,
});
const start = { type: 'start', id: 'resp_1', model: 'm', usage: null };
const finish = (stop: string) => ({ type: 'finish', stop, stopSequence: null, usage: null });

describe('a stream that a provider sends', () => {
  test('is an answer; what repeats or accompanies it is passed over', () => {
    const usage = { input_tokens: 3, output_tokens: 2 };
    const events = decode([
      created,
      { type: 'response.in_progress', response: {} },
      added(0, message),
      { type: 'response.content_part.added', output_index: 0, part: {} },
      text('a'),
      text('b'),
      { type: 'response.output_text.done', output_index: 0, text: 'ab' },
      text('c', 1),
      { type: 'response.of.tomorrow', output_index: 9, delta: {} },
      done(0, { ...message, content: [{ type: 'output_text', text: 'ab' }] }),
      completed(usage),
    ]);
    expect(events).toEqual([
      start,
      { type: 'block_start', index: 0, block: { kind: 'text' } },
      { type: 'text_delta', index: 0, text: 'a' },
      { type: 'text_delta', index: 0, text: 'b' },
      { type: 'block_stop', index: 0 },
      { type: 'block_start', index: 1, block: { kind: 'text' } },
      { type: 'text_delta', index: 1, text: 'c' },
      { type: 'block_stop', index: 1 },
      {
        ...finish('end'),
        usage: { input: 3, output: 2, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 },
      },
    ]);
  });

  test('may tell of several calls side by side', () => {
    const delta = (at: number, json: string) => ({
      type: 'response.function_call_arguments.delta',
      output_index: at,
      delta: json,
    });
    const events = decode([
      created,
      added(0, call('a')),
      added(1, call('b')),
      delta(1, '{"b"'),
      delta(0, '{}'),
      done(0, call('a', { arguments: '{}' })),
      delta(1, ':1}'),
      done(1, call('b', { arguments: '{"b":1}' })),
      completed(),
    ]);
    expect(events.slice(1)).toEqual([
      { type: 'block_start', index: 0, block: { kind: 'tool_call', id: 'a', name: 'f' } },
      { type: 'block_start', index: 1, block: { kind: 'tool_call', id: 'b', name: 'f' } },
      { type: 'arguments_delta', index: 1, json: '{"b"' },
      { type: 'arguments_delta', index: 0, json: '{}' },
      { type: 'block_stop', index: 0 },
      { type: 'arguments_delta', index: 1, json: ':1}' },
      { type: 'block_stop', index: 1 },
      finish('tool'),
    ]);
  });

  test('makes arguments of free text, as it comes', () => {
    const custom = { type: 'custom_tool_call', id: 'ctc_1', call_id: 'c', name: 'patch', input: '' };
    const delta = (more: string) => ({ type: 'response.custom_tool_call_input.delta', output_index: 0, delta: more });
    const events = decode([
      created,
      added(0, custom),
      delta('a "'),
      delta('b\n\ud83d'),
      delta('\ude00'),
      done(0, { ...custom, input: 'whole' }),
      completed(),
    ]);
    const json = events.map((event) => (event.type === 'arguments_delta' ? event.json : '')).join('');
    expect(JSON.parse(json)).toEqual({ input: 'a "b\n😀' });
  });

  test('shows reasoning, its parts apart, and ends it with its seal', () => {
    const delta = (more: string, part: number) => ({
      type: 'response.reasoning_summary_text.delta',
      output_index: 0,
      summary_index: part,
      delta: more,
    });
    const item = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'e' };
    const seal = { dialect: 'responses', members: { id: 'rs_1', encrypted_content: 'e' } };
    expect(
      decode([created, added(0, item), delta('a', 0), delta('b', 1), done(0, item), completed()]).slice(1, -1),
    ).toEqual([
      { type: 'block_start', index: 0, block: { kind: 'reasoning' } },
      { type: 'reasoning_delta', index: 0, text: 'a' },
      { type: 'reasoning_delta', index: 0, text: '\n\nb' },
      { type: 'seal', index: 0, seal },
      { type: 'block_stop', index: 0 },
    ]);
    const { encrypted_content: _hidden, ...bare } = item;
    expect(decode([created, added(0, bare), done(0, bare), completed()])).toEqual([start, finish('end')]);
  });

  test('may tell an item in one piece, added or not', () => {
    const custom = { type: 'custom_tool_call', call_id: 'c', name: 'patch', input: 'x' };
    const reasoning = {
      type: 'reasoning',
      id: 'rs',
      summary: [{ type: 'summary_text', text: 'hm' }],
      encrypted_content: 'e',
    };
    const content = [
      { type: 'output_text', text: 'a' },
      { type: 'refusal', refusal: 'b' },
    ];
    const events = decode([
      created,
      done(0, reasoning),
      added(1, message),
      done(1, { ...message, content }),
      done(2, call('a', { arguments: '{}' })),
      done(3, custom),
      completed(),
    ]);
    expect(events.filter(({ type }) => type.endsWith('_delta'))).toEqual([
      { type: 'reasoning_delta', index: 0, text: 'hm' },
      { type: 'text_delta', index: 1, text: 'a' },
      { type: 'text_delta', index: 2, text: 'b' },
      { type: 'arguments_delta', index: 3, json: '{}' },
      { type: 'arguments_delta', index: 4, json: '{"input":"x"}' },
    ]);
    expect(events.at(-1)).toEqual(finish('refusal'));
  });

  test('may tell everything at its end alone', () => {
    const content = [{ type: 'output_text', text: 'a' }];
    const output = [{ ...message, content }, call('x', { arguments: '{}' })];
    const end = { type: 'response.completed', response: { ...completed().response, model: 'm', output } };
    const whole = decode([end]);
    expect(whole[0]).toEqual(start);
    expect(blocksOf(whole)).toEqual([
      { type: 'text', text: 'a' },
      { type: 'tool_call', id: 'x', name: 'f', argumentsJson: '{}' },
    ]);
    expect(whole.at(-1)).toEqual(finish('tool'));
    expect(blocksOf(decode([created, added(0, message), end]))).toEqual(blocksOf(whole));
    // What was said already is not said again.
    const streamed = [created, done(0, { ...message, content }), done(1, call('x', { arguments: '{}' })), end];
    expect(blocksOf(decode(streamed))).toEqual(blocksOf(whole));
  });

  test('is incomplete by the name of its last event, where that says no more', () => {
    const events = [created, added(0, call('x')), { type: 'response.incomplete', response: { id: 'resp_1' } }];
    expect(decode(events).at(-1)).toEqual(finish('length'));
  });

  test('leaves no arguments broken where free text was not said to be done', () => {
    const item = { type: 'custom_tool_call', call_id: 'c', name: 'patch', input: '' };
    const delta = { type: 'response.custom_tool_call_input.delta', output_index: 0, delta: 'abc' };
    expect(blocksOf(decode([created, added(0, item), delta, completed()]))).toEqual([
      { type: 'tool_call', id: 'c', name: 'patch', argumentsJson: '{"input":"abc"}' },
    ]);
  });

  test.each([
    ['length', 'max_output_tokens'],
    ['refusal', 'content_filter'],
  ])('may be incomplete, with an item still open: %s', (stop, reason) => {
    const response = { id: 'resp_1', status: 'incomplete', incomplete_details: { reason }, usage: null };
    const events = decode([created, added(0, message), text('a'), { type: 'response.incomplete', response }]);
    expect(events.slice(-2)).toEqual([{ type: 'block_stop', index: 0 }, finish(stop)]);
  });

  test.each([
    [
      'response.failed',
      { response: { status: 'failed', error: { code: 'context_length_exceeded', message: 'Too long.' } } },
      'context_length_exceeded',
      'prompt is too long: Too long.',
    ],
    [
      'response.failed',
      { response: { status: 'failed', error: { code: 'server_is_overloaded', message: 'Busy.' } } },
      'unavailable',
      'Busy.',
    ],
    ['error', { code: 'rate_limit_exceeded', message: 'Slow down.', param: null }, 'rate_limited', 'Slow down.'],
    ['error', { error: { code: 'insufficient_quota', message: 'Pay.' } }, 'upstream_error', 'Pay.'],
  ])('may fail, and nothing was begun if it failed at once: %s %j', (type, rest, code, said) => {
    expect(decode([created, { type, ...rest }])).toEqual([
      { type: 'error', error: expect.objectContaining({ code, message: said }) },
    ]);
  });

  test.each([
    ['is cut', [created, added(0, message), text('a')]],
    ['has a delta outside an item', [created, text('a')]],
    ['has a delta of another kind', [created, added(0, call('a')), text('a')]],
    ['adds an item twice', [created, added(0, message), added(0, message)]],
    ['has an item that nobody asked for', [created, added(0, { type: 'web_search_call', id: 'ws' })]],
    ['has a call without a name', [created, added(0, call('a', { name: '' }))]],
    ['ends without having ended', [created, { type: 'response.completed', response: { status: 'queued' } }]],
  ])('is an error where it %s', (_what, events) => {
    const last = decode(events).at(-1);
    expect(last).toMatchObject({ type: 'error', error: { code: 'upstream_error' } });
  });

  test('bounds what was generated by the bytes that came', () => {
    const decoder = createDecoder(new Losses('refuse', 'answer'));
    for (const event of [created, added(0, message), text('é'), text('ab')]) {
      decoder.event({ event: event.type, data: JSON.stringify(event) });
    }
    expect(decoder.outputBytes).toBe(4);
  });
});

describe('a stream that is written', () => {
  const tool = { description: null, schema: { type: 'object' }, strict: null } as const;
  const request = aConversation({
    tools: [
      { ...tool, name: 'f' },
      { ...tool, name: 'crm.find', namespace: 'crm' },
      { ...tool, name: 'patch', freeform: true },
    ],
  });
  const encoder = () => createEncoder({ createdS: 1, includeUsage: true, request });
  const write = (events: readonly AnswerEvent[]) => {
    const writer = encoder();
    return events.map((event) => writer.write(event)).join('');
  };
  const called = (index: number, name: string, json: string): AnswerEvent[] => [
    { type: 'block_start', index, block: { kind: 'tool_call', id: `call_${index}`, name } },
    { type: 'arguments_delta', index, json: json.slice(0, 4) },
    { type: 'arguments_delta', index, json: json.slice(4) },
    { type: 'block_stop', index },
  ];
  const begin: AnswerEvent = { type: 'start', id: 'gen_1', model: 'm', usage: null };
  const end: AnswerEvent = { type: 'finish', stop: 'tool', stopSequence: null, usage: null };

  test('names each tool as it was offered, and tells free text as such', () => {
    const stream = write([begin, ...called(0, 'crm.find', '{"a":1}'), ...called(1, 'patch', '{"input":"x\\ny"}'), end]);
    expect(readResponsesStream(stream).blocks).toMatchObject([
      { name: 'find', argumentsJson: '{"a":1}' },
      { name: 'patch', argumentsJson: '{"input":"x\\ny"}' },
    ]);
    const items = eventsIn(stream)
      .filter(({ event }) => event === 'response.output_item.done')
      .map(({ data }) => (JSON.parse(data) as { item: object }).item);
    expect(items).toMatchObject([{ namespace: 'crm' }, { type: 'custom_tool_call', input: 'x\ny' }]);
  });

  test('may have calls side by side, whose items end in any order', () => {
    const [a, b] = [called(0, 'f', '{"a":1}'), called(1, 'f', '{"b":1}')];
    const stream = write([begin, ...a.slice(0, 2), ...b, ...a.slice(2), end]);
    expect(readResponsesStream(stream)).toMatchObject({
      ending: 'finished',
      blocks: [{ argumentsJson: '{"a":1}' }, { argumentsJson: '{"b":1}' }],
    });
  });

  test('that fails tells which response failed, and why, as Codex and the SDKs read it', () => {
    const writer = encoder();
    const stream =
      writer.write(begin) +
      writer.write({ type: 'block_start', index: 0, block: { kind: 'text' } }) +
      writer.fail(new PortcullisError('budget_exceeded', 'The budget is spent.', { rule: 'b' }), 'req_1');
    expect(readResponsesStream(stream)).toMatchObject({ ending: 'failed', blocks: [{ closed: false }] });
    expect(JSON.parse(eventsIn(stream).at(-1)?.data ?? '')).toMatchObject({
      type: 'response.failed',
      response: {
        id: 'gen_1',
        status: 'failed',
        error: { code: 'insufficient_quota', message: 'The budget is spent.' },
      },
      error: {
        message: 'The budget is spent.',
        type: 'insufficient_quota',
        code: 'budget_exceeded',
        details: { rule: 'b' },
      },
      request_id: 'req_1',
    });
    expect(writer.write({ type: 'block_stop', index: 0 })).toBe('');
  });
});
