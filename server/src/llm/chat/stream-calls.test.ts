import { describe, expect, test, vi } from 'vitest';
import { toolArgumentsCharsMax, toolCallsPerAnswerMax } from '../../base/limits.ts';
import { begin, calls, decode, delta, end, failureOf, more } from '../testing/chat-chunks.ts';

const twoCalls = (argsOfFirst: string, argsOfSecond: string, ids: readonly [string, string]) => [
  { type: 'tool_call', id: ids[0], name: 'f', argumentsJson: argsOfFirst },
  { type: 'tool_call', id: ids[1], name: 'f', argumentsJson: argsOfSecond },
];

describe('a stream of chunks with tool calls', () => {
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

  test('keeps interleaved calls apart, one accumulator per index (case 7)', () => {
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

  test('takes calls without index and id by their names, and makes each a unique id (cases 1 and 5)', () => {
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

  test('with a call that has no name is an error (case 1)', () => {
    expect(failureOf(decode(calls({ index: 0, id: 'a', function: { arguments: '{}' } })).last)).toContain('name');
    expect(failureOf(decode(calls(begin(0, 'a', '{}', ''))).last)).toContain('name');
  });

  test('with arguments for a call that was complete is an error; white space there is not', () => {
    const start = [calls(begin(0, 'a', '{}')), calls(begin(1, 'b', '{}'))];
    expect(failureOf(decode(...start, calls(more(0, '{"x":1}'))).last)).toContain('arguments');
    expect(decode(...start, calls(more(0, ' \n')), end('tool_calls')).last?.type).toBe('finish');
  });

  test('gives text after a call a block of its own, with a higher index (case 8)', () => {
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

  test('of calls that ends with "stop" after tool calls ends for the tools', () => {
    expect(decode(calls(begin(0, 'x', '{}')), end('stop')).last).toMatchObject({ stop: 'tool' });
  });

  test('that claims tool calls and has none is an error', () => {
    expect(failureOf(decode(delta({ content: 'x' }), end('tool_calls')).last)).toContain('finish_reason');
  });

  test('with more calls or longer arguments than are kept is an error', () => {
    const many = Array.from({ length: toolCallsPerAnswerMax + 1 }, (_, i) => calls(begin(i, `c${i}`, '{}')));
    expect(failureOf(decode(...many).last)).toContain(String(toolCallsPerAnswerMax));
    const long = calls(more(0, ' '.repeat(toolArgumentsCharsMax)));
    expect(failureOf(decode(calls(begin(0, 'a', '{')), long).last)).toContain(String(toolArgumentsCharsMax));
  });

  test('reads the arguments of an open call once, whatever else comes beside it', () => {
    const parse = vi.spyOn(JSON, 'parse');
    const open = calls(begin(0, 'a', `{"x":"${'y'.repeat(100_000)}`));
    const beside = Array.from({ length: 200 }, (_, i) =>
      i % 2 === 0 ? delta({ content: 'a' }) : delta({ reasoning_content: 'b' }),
    );
    // A server that repeats the name of a call without its id: more of the same call, as long as that is not whole.
    const repeated = Array.from({ length: 200 }, () => calls(begin(undefined, null, 'z')));
    const { blocks } = decode(open, ...beside, ...repeated, calls(more(undefined, '"}')), end('tool_calls'));
    expect(blocks.filter(({ type }) => type === 'tool_call')).toHaveLength(1);
    const read = parse.mock.calls.reduce((sum, [text]) => sum + text.length, 0);
    parse.mockRestore();
    expect(read).toBeLessThan(500_000);
  });

  test('tells of a call when its arguments begin, so that its name may come in pieces', () => {
    const piece = (name: string, args = '') => calls({ index: 0, function: { name, arguments: args } });
    const { events, blocks } = decode(
      calls(begin(0, 'a', '', 'get_')),
      piece('weather'),
      piece('', '{"x"'),
      calls(more(0, ':1}')),
      end('tool_calls'),
    );
    expect(blocks).toEqual([{ type: 'tool_call', id: 'a', name: 'get_weather', argumentsJson: '{"x":1}' }]);
    expect(events.filter(({ type }) => type === 'block_start')).toHaveLength(1);
  });

  test('takes an id that comes after its call has begun', () => {
    const { blocks } = decode(
      calls({ index: 0, function: { name: 'f' } }),
      calls({ index: 0, id: 'late', function: { arguments: '{}' } }),
      end('tool_calls'),
    );
    expect(blocks).toEqual([{ type: 'tool_call', id: 'late', name: 'f', argumentsJson: '{}' }]);
  });

  test.each([null, '', undefined])('takes later parts whose id is %j for the same call (case 5)', (id) => {
    const part = { index: 0, id, type: 'function', function: { name: null, arguments: '1}' } };
    expect(decode(calls(begin(0, 'a', '{"x":')), calls(part), end('tool_calls')).blocks).toEqual([
      { type: 'tool_call', id: 'a', name: 'f', argumentsJson: '{"x":1}' },
    ]);
  });

  test('keeps calls apart that come whole, in one chunk, without index, id or arguments', () => {
    const whole = (name: string) => ({ function: { name, arguments: '' } });
    const { blocks } = decode(calls(whole('f'), whole('g')), end('tool_calls'));
    expect(blocks).toMatchObject([
      { name: 'f', argumentsJson: '' },
      { name: 'g', argumentsJson: '' },
    ]);
  });

  test('begins and ends a call that has no arguments, at the place where it came (case 2)', () => {
    const { events } = decode(calls(begin(0, 'a')), delta({ content: 'x' }), calls(begin(1, 'b', '{}')), end('stop'));
    const told = events.map((event) => ('index' in event ? `${event.type} ${event.index}` : event.type));
    expect(told).toEqual([
      'start',
      'block_start 0',
      'block_start 1',
      'text_delta 1',
      'block_stop 1',
      'block_start 2',
      'arguments_delta 2',
      'block_stop 0',
      'block_stop 2',
      'finish',
    ]);
  });

  test('makes of a call that comes whole a start, one delta and a stop (case 3)', () => {
    const { events } = decode(calls(begin(0, 'a', '{"x":1}')), end('tool_calls'));
    expect(events.slice(1, -1)).toEqual([
      { type: 'block_start', index: 0, block: { kind: 'tool_call', id: 'a', name: 'f' } },
      { type: 'arguments_delta', index: 0, json: '{"x":1}' },
      { type: 'block_stop', index: 0 },
    ]);
  });

  test('makes up no arguments for a call that came without (case 4)', () => {
    expect(decode(calls(begin(0, 'a')), end('tool_calls')).blocks).toEqual([
      { type: 'tool_call', id: 'a', name: 'f', argumentsJson: '' },
    ]);
  });

  test('of calls that ends with the word for functions ends for the tools', () => {
    expect(decode(calls(begin(0, 'a', '{}')), end('function_call')).last).toMatchObject({ stop: 'tool' });
  });
});
