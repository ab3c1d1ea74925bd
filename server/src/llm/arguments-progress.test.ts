import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { jsonDepthMax } from '../base/limits.ts';
import { ArgumentsProgress } from './arguments-progress.ts';
import { parseArguments } from './tool-arguments.ts';

afterEach(() => vi.restoreAllMocks());

function progressOf(...pieces: readonly string[]): ArgumentsProgress {
  const progress = new ArgumentsProgress();
  for (const piece of pieces) progress.add(piece);
  return progress;
}

const deep = (levels: number) => '{"a":'.repeat(levels) + '1' + '}'.repeat(levels);

/** Objects, what stands around them, and what is nearly one. */
const argumentsText = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.stringify(value)),
  fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })).map((value) => ` ${JSON.stringify(value, null, 1)}\n`),
  fc
    .array(fc.constantFrom('{', '}', '[', ']', '"', '\\', 'a', ':', '1', ',', ' ', '{"a":', '{}'))
    .map((parts) => parts.join('')),
  fc.constantFrom(deep(jsonDepthMax), deep(jsonDepthMax + 1)),
);

describe('arguments that come in pieces', () => {
  test('are whole exactly when all that came is one JSON object, however it was cut', () => {
    fc.assert(
      fc.property(argumentsText, fc.integer({ min: 1, max: 9 }), (text, size) => {
        const progress = new ArgumentsProgress();
        for (let at = 0; at < text.length; at += size) {
          progress.add(text.slice(at, at + size));
          const sofar = text.slice(0, at + size);
          expect([sofar, progress.whole]).toEqual([sofar, parseArguments(sofar) !== null]);
        }
      }),
    );
  });

  test('are not whole when they are a number, however exactly it must be kept', () => {
    for (const text of ['-7.11925531846465e-310', '12345678901234567890']) expect(progressOf(text).whole).toBe(false);
  });

  test('are parsed once, however many pieces come and however often they are asked about', () => {
    const parse = vi.spyOn(JSON, 'parse');
    const progress = progressOf('{"a":"', ...Array.from({ length: 1_000 }, () => 'x{}'));
    expect(progress.whole).toBe(false);
    expect(parse).not.toHaveBeenCalled();
    progress.add('"}');
    for (let i = 0; i < 100; i++) progress.add(' ');
    expect(progress.whole).toBe(true);
    for (let i = 0; i < 100; i++) progress.add('{}');
    expect(progress.whole).toBe(false);
    expect(parse).toHaveBeenCalledOnce();
  });
});
