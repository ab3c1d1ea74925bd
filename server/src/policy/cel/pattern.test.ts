import { RE2JS } from '@bufbuild/re2';
import { assert, constantFrom, array, property, string, stringMatching } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { patternStepsMax } from '../../base/limits.ts';
import { compilePattern, PatternRefused } from './pattern.ts';

function compile(source: string) {
  return compilePattern(source, { left: patternStepsMax });
}

const atoms = [
  'a',
  'b',
  '1',
  '_',
  ' ',
  '\\n',
  '.',
  '(?s:.)',
  '[a-c]',
  '[^a]',
  '\\d',
  '\\w',
  '\\s',
  '\\pL',
  'é',
  '😀',
  '(?i:k)',
];
const assertions = ['^', '$', '\\b', '\\B', '\\A', '\\z', '(?m:^)', '(?m:$)', ''];
const repeats = ['', '*', '+', '?', '{2}', '{1,3}', '*?'];

const piece = array(constantFrom(...atoms), { minLength: 1, maxLength: 3 }).chain((of) =>
  constantFrom(...repeats).chain((repeat) =>
    constantFrom(...assertions).map((at) => `${at}(?:${of.join('')})${repeat}`),
  ),
);
const pattern = array(piece, { minLength: 1, maxLength: 4 }).chain((pieces) =>
  constantFrom('', '|').map((between) => pieces.join(between)),
);
const text = array(constantFrom('a', 'b', 'c', 'A', 'k', 'K', '\u212a', '1', '_', ' ', '\n', 'é', '😀', '\ud800'), {
  maxLength: 12,
}).map((characters) => characters.join(''));

describe('a pattern', () => {
  test('matches what the library that reads it says it matches', () => {
    assert(
      property(pattern, array(text, { minLength: 8, maxLength: 8 }), (source, texts) => {
        const [ours, theirs] = [compile(source), RE2JS.compile(source)];
        for (const each of texts) expect([source, each, ours(each)]).toEqual([source, each, theirs.test(each)]);
      }),
      { numRuns: 500 },
    );
  });

  test('is made or refused, and never throws anything else', () => {
    assert(
      property(string({ maxLength: 40 }), stringMatching(/^[()[\]{}|*+?^$\\.a-c0-9,-]{0,40}$/), (any, likely) => {
        for (const source of [any, likely]) {
          try {
            compile(source)('aaa');
          } catch (error) {
            if (!(error instanceof PatternRefused)) throw error;
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test.each(['.*a.{20}', '(a{30}){30}', '(?:a?){50}a{50}[ab]{60}', 'x'.repeat(201), '(a)\\1', '(?=a)', '(', '(?i)ß'])(
    '%s is refused',
    (source) => {
      expect(() => compile(source)).toThrow(PatternRefused);
    },
  );

  test('shares its steps with the other patterns of a condition', () => {
    const steps = { left: patternStepsMax };
    expect(() => {
      for (let count = 0; count < 1_000; count += 1) compilePattern('(?i)password|secret|token', steps);
    }).toThrow(PatternRefused);
  });
});
