import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { columnsOf, cut, visible, visibleJson } from './terminal-text.ts';

// Text as an attacker would choose it: controls, escapes, overrides, separators, halves of pairs, and ordinary letters.
const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '\u001b',
      '\u009b',
      '\u0007',
      '\u007f',
      '\r',
      '\n',
      '\u202e',
      '\u2066',
      '\u200b',
      '\u2028',
      '\ud800',
      'é',
      '好',
      '🙂',
      'a',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
  maxLength: 40,
});

describe('text for a terminal', () => {
  test('never holds a character that a terminal obeys or that reorders what is read', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(visible(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
    );
  });

  test('shows an escape sequence and an override as what they are', () => {
    expect(visible('\u001b]0;owned\u0007')).toBe('\\x1b]0;owned\\x07');
    expect(visible('user\u202etxt.exe')).toBe('user\\u{202e}txt.exe');
    expect(visible('two\nlines')).toBe('two\\nlines');
  });

  test('leaves ordinary text of any language as it is', () => {
    expect(visible('Größe, 大小, размер, 🙂')).toBe('Größe, 大小, размер, 🙂');
  });

  test('in JSON parses to the same value, and has no control character but the line feeds between members', () => {
    fc.assert(
      fc.property(fc.dictionary(hostile, hostile), (value) => {
        const text = visibleJson(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
    );
  });

  test('takes two columns for wide characters and one for composed ones', () => {
    expect(columnsOf('abc')).toBe(3);
    expect(columnsOf('好')).toBe(2);
    expect(columnsOf('e\u0301')).toBe(1);
    expect(columnsOf('🙂')).toBe(2);
  });

  test('is cut to its columns with an ellipsis, and never in the middle of a character', () => {
    expect(cut('reviewer', 8)).toBe('reviewer');
    expect(cut('reviewer', 5)).toBe('revi…');
    expect(cut('好好好', 4)).toBe('好…');
    fc.assert(
      fc.property(hostile, fc.integer({ min: 1, max: 20 }), (text, max) => {
        expect(columnsOf(cut(text, max))).toBeLessThanOrEqual(max);
      }),
    );
  });
});
