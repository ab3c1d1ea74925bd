import { anything, assert, jsonValue, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hostileArguments } from '../../../test/support/hostile-arguments.ts';
import {
  argumentDepthMax,
  argumentEntriesMax,
  argumentsSizeMax,
  argumentTextBytesMax,
  argumentValueSize,
} from '../base/limits.ts';
import { type Argument, boundArgs } from './facts.ts';

/** The measures that conditions are priced by. */
function measure(value: Argument, depth = 0): { size: number; depth: number; entries: number; text: number } {
  if (typeof value === 'string') {
    const bytes = Buffer.byteLength(value);
    return { size: bytes, depth, entries: 0, text: bytes };
  }
  if (typeof value !== 'object' || value === null) return { size: 0, depth, entries: 0, text: 0 };
  const entries = Object.entries(value);
  const inside = entries.map(([, each]) => measure(each, depth + 1));
  const names = Array.isArray(value) ? 0 : entries.reduce((sum, [name]) => sum + Buffer.byteLength(name), 0);
  return {
    size: inside.reduce((sum, { size }) => sum + size + argumentValueSize, names),
    depth: Math.max(depth, ...inside.map((each) => each.depth)),
    entries: Math.max(entries.length, ...inside.map((each) => each.entries)),
    text: Math.max(0, ...inside.map(({ text }) => text)),
  };
}

function expectBounded(sent: unknown): void {
  const { args } = boundArgs(sent);
  const { size, depth, entries, text } = measure(args);
  // The member `truncated` comes on top.
  expect(size).toBeLessThanOrEqual(argumentsSizeMax + argumentValueSize + 'truncated'.length);
  expect(depth).toBeLessThanOrEqual(argumentDepthMax + 1);
  expect(entries).toBeLessThanOrEqual(argumentEntriesMax);
  expect(text).toBeLessThanOrEqual(argumentTextBytesMax);
  expect(JSON.parse(JSON.stringify(args))).toEqual(args);
}

describe('the arguments of a call', () => {
  test('stay within all limits and survive being written and read, whatever was sent', () => {
    assert(property(anything({ withNullPrototype: true, maxDepth: 10 }), expectBounded), { numRuns: 500 });
    for (const hostile of Object.values(hostileArguments)) expectBounded(hostile());
    expectBounded({ list: Array.from({ length: 100_000 }, () => 'x'.repeat(10_000)) });
    expectBounded(JSON.parse(`${'{"a":['.repeat(5_000)}${']}'.repeat(5_000)}`));
  });

  test('are what was sent where that is small, and say that nothing was cut', () => {
    assert(
      property(jsonValue({ maxDepth: 3, noUnicodeString: false, stringUnit: 'grapheme' }), (value) => {
        expect(boundArgs({ value })).toEqual({
          args: { value: JSON.parse(JSON.stringify(value)), truncated: false },
          truncated: false,
        });
      }),
    );
  });

  test('are bounded again to themselves', () => {
    assert(
      property(anything(), (value) => {
        const { args } = boundArgs({ value });
        const again = boundArgs(args).args;
        expect({ ...again, truncated: null }).toEqual({ ...args, truncated: null });
      }),
    );
  });

  test('say that something was cut, whatever the caller says of it', () => {
    expect(boundArgs({ truncated: true, a: 1 }).args).toEqual({ a: 1, truncated: false });
    expect(boundArgs({ truncated: false, a: 'x'.repeat(argumentTextBytesMax + 1) }).args.truncated).toBe(true);
    expect(boundArgs({ a: Array.from({ length: argumentEntriesMax + 1 }, () => 1) }).truncated).toBe(true);
    expect(boundArgs({ a: { ['n'.repeat(300)]: 1 } })).toEqual({ args: { a: {}, truncated: true }, truncated: true });
    expect(boundArgs('text')).toEqual({ args: { truncated: true }, truncated: true });
  });

  test('texts are cut between code points', () => {
    const { args } = boundArgs({ a: `x${'😀'.repeat(argumentTextBytesMax)}`, b: 'é'.repeat(argumentTextBytesMax) });
    expect(args.a).toBe(`x${'😀'.repeat((argumentTextBytesMax - 1) >> 2)}`);
    expect(args.b).toBe('é'.repeat(argumentTextBytesMax / 2));
  });

  test('what JSON cannot write again is replaced by what it can', () => {
    const { args } = boundArgs({ half: 'a\ud800b', zero: -0, most: JSON.parse('1e999'), least: JSON.parse('-1e999') });
    expect(args).toEqual({
      half: 'a\ufffdb',
      zero: 0,
      most: Number.MAX_VALUE,
      least: -Number.MAX_VALUE,
      truncated: true,
    });
    expect(Object.is(args.zero, 0)).toBe(true);
  });

  test('a member named __proto__ is a member', () => {
    const { args } = boundArgs(JSON.parse('{"__proto__": {"admin": true}, "a": 1}'));
    expect(Object.hasOwn(args, '__proto__')).toBe(true);
    expect(args['admin']).toBeUndefined();
  });
});
