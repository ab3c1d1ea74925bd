import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { blocksPerAnswerMax } from '../base/limits.ts';
import type { AnswerEvent, StreamEvent } from './stream-events.ts';
import { StreamOrder, createOrderedDecoder, createOrderedEncoder } from './stream-order.ts';
import { refusalOf } from './testing/refusal.ts';

const start: AnswerEvent = { type: 'start', id: 'a', model: 'm', usage: null };
const finish: AnswerEvent = { type: 'finish', stop: 'end', stopSequence: null, usage: null };
const open = (index: number, kind: 'text' | 'reasoning' | 'tool_call'): AnswerEvent => ({
  type: 'block_start',
  index,
  block: kind === 'tool_call' ? { kind, id: 'c', name: 'f' } : { kind },
});
const close = (index: number): AnswerEvent => ({ type: 'block_stop', index });
const seal: AnswerEvent = { type: 'seal', index: 0, seal: { dialect: 'chat', members: {} } };
const delta = {
  text: { type: 'text_delta', index: 0, text: 'x' },
  reasoning: { type: 'reasoning_delta', index: 0, text: 'x' },
  tool_call: { type: 'arguments_delta', index: 0, json: '{}' },
} as const satisfies Record<string, AnswerEvent>;
const failure: StreamEvent = { type: 'error', error: new PortcullisError('killed', 'Stopped.') };

/** What is wrong with the first event that is. */
function wrongIn(...events: readonly StreamEvent[]): string | null {
  const order = new StreamOrder();
  for (const event of events) {
    const wrong = order.take(event);
    if (wrong !== null) return wrong;
  }
  return null;
}

describe('the order of a stream', () => {
  test('lets blocks be open side by side, pings be anywhere, and a seal end reasoning', () => {
    const { text, reasoning, tool_call: args } = delta;
    expect(
      wrongIn(
        { type: 'ping' },
        start,
        open(0, 'reasoning'),
        open(1, 'text'),
        reasoning,
        { ...text, index: 1 },
        { type: 'ping' },
        open(3, 'tool_call'),
        seal,
        { ...args, index: 3 },
        close(1),
        close(0),
        close(3),
        finish,
      ),
    ).toBeNull();
    expect(wrongIn(start, failure)).toBeNull();
    expect(wrongIn(failure)).toBeNull();
  });

  test('has an end: an answer of more blocks is none', () => {
    const blocks = (count: number) => Array.from({ length: count }, (_, i) => [open(i, 'text'), close(i)]).flat();
    expect(wrongIn(start, ...blocks(blocksPerAnswerMax), finish)).toBeNull();
    expect(wrongIn(start, ...blocks(blocksPerAnswerMax + 1))).toContain(String(blocksPerAnswerMax));
  });

  test.each(['text', 'reasoning', 'tool_call'] as const)('takes in a block of %s its own deltas only', (kind) => {
    for (const other of ['text', 'reasoning', 'tool_call'] as const) {
      expect(wrongIn(start, open(0, kind), delta[other]) === null).toBe(other === kind);
    }
    expect(wrongIn(start, open(0, kind), close(0), delta[kind])).not.toBeNull();
  });

  test.each<[string, StreamEvent[]]>([
    ['a second start', [start, start]],
    ['a block before the start', [open(0, 'text')]],
    ['a finish before the start', [finish]],
    ['an index that does not rise', [start, open(1, 'text'), close(1), open(1, 'text')]],
    ['a block that closes twice', [start, open(0, 'text'), close(0), close(0)]],
    ['a finish with an open block', [start, open(0, 'text'), finish]],
    ['a seal in a text', [start, open(0, 'text'), seal]],
    ['a second seal', [start, open(0, 'reasoning'), seal, seal]],
    ['reasoning after its seal', [start, open(0, 'reasoning'), seal, delta.reasoning]],
    ['anything after the finish', [start, finish, { type: 'ping' }]],
    ['anything after an error', [start, failure, finish]],
  ])('forbids %s', (_, events) => {
    expect(wrongIn(...events)).not.toBeNull();
    expect(wrongIn(...events.slice(0, -1))).toBeNull();
  });
});

describe('a decoder in order', () => {
  /** Yields what a test scripts, one list an event. */
  function decoderOf(script: readonly (readonly StreamEvent[])[], atEnd: readonly StreamEvent[] = []) {
    let turn = 0;
    return createOrderedDecoder({ event: () => script[turn++] ?? [], end: () => atEnd, usage: null, outputBytes: 7 });
  }
  const event = { event: 'message', data: '' };

  test('replaces the first event out of order by an error, and yields nothing after it', () => {
    const decoder = decoderOf([[start, close(0), finish], [finish]], [finish]);
    expect(decoder.event(event)).toEqual([start, { type: 'error', error: expect.any(PortcullisError) }]);
    expect([...decoder.event(event), ...decoder.end()]).toEqual([]);
    expect([decoder.usage, decoder.outputBytes]).toEqual([null, 7]);
  });

  test('turns whatever is thrown into an error', () => {
    const decoder = createOrderedDecoder({
      event: () => {
        throw new RangeError('deep');
      },
      end: () => [],
      usage: null,
      outputBytes: 0,
    });
    expect(decoder.event(event)).toMatchObject([{ type: 'error', error: { code: 'internal' } }]);
  });

  test('ends a stream that was cut with an error, one that was whole with what was due, and only once', () => {
    const cut = decoderOf([[start]]);
    cut.event(event);
    expect(cut.end()).toMatchObject([{ type: 'error', error: { code: 'upstream_error' } }]);
    expect(cut.end()).toEqual([]);
    const whole = decoderOf([[start]], [finish]);
    whole.event(event);
    expect([...whole.end(), ...whole.end()]).toEqual([finish]);
  });
});

describe('an encoder in order', () => {
  const encoder = () =>
    createOrderedEncoder({
      write: (event) => {
        if (event.type === 'text_delta') throw new PortcullisError('upstream_error', 'Too long.');
        return `${event.type};`;
      },
      error: (error) => `error ${error.code};`,
    });

  test('writes up to its one ending and nothing after it', () => {
    const whole = encoder();
    expect(whole.write(start) + whole.write(finish)).toBe('start;finish;');
    expect(whole.write(start) + whole.fail(new PortcullisError('killed', 'Stopped.'), 'r')).toBe('');
    expect([whole.finished, whole.failed]).toEqual([true, false]);
  });

  test.each<[string, AnswerEvent[]]>([
    ['an event out of order', [start, close(0)]],
    ['what its dialect cannot say', [start, open(0, 'text'), delta.text]],
  ])('refuses %s, and then writes nothing but the error', (_, events) => {
    const broken = encoder();
    for (const event of events.slice(0, -1)) broken.write(event);
    const last = events.at(-1) ?? finish;
    expect(refusalOf(() => broken.write(last)).code).toBe('upstream_error');
    expect(broken.write(finish)).toBe('');
    expect([broken.finished, broken.failed]).toEqual([false, false]);
    const killed = new PortcullisError('killed', 'Stopped.');
    expect(broken.fail(killed, 'r') + broken.fail(killed, 'r')).toBe('error killed;');
    expect([broken.finished, broken.failed]).toEqual([false, true]);
  });
});
