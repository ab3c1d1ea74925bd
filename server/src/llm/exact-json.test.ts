import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { parseExactJson } from './exact-json.ts';

test.each([
  '12345678901234567890',
  '-9007199254740993',
  '1e400',
  '0.12345678901234567890123',
  '{"a":[1e999,1]}',
  '[0.1,1e5,-0]',
  '[-1.5e400,"12345678901234567890",{"\\"9":12345678901234567890}]',
  '["a\\\\",12345678901234567890]',
  '{"__proto__":{"x":12345678901234567890}}',
])('the number in %s survives parsing and writing', (text) => {
  const again = JSON.stringify(parseExactJson(text));
  expect(again).toBe(text.replace('1e5', '100000').replace('-0]', '0]'));
});

test('everything else is what JSON.parse makes of it', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(JSON.stringify(parseExactJson(text))).toBe(JSON.stringify(JSON.parse(text)));
    }),
  );
});

test('numbers of any length between any values keep their text', () => {
  const digits = fc.stringMatching(/^-?[1-9]\d{0,30}$/);
  fc.assert(
    fc.property(fc.array(fc.oneof(digits, fc.json())), (items) => {
      const text = `[${items.join(',')}]`;
      const again = JSON.stringify(parseExactJson(text));
      expect(again).toBe(
        `[${items.map((json) => (/^-?\d+$/.test(json) ? json : JSON.stringify(JSON.parse(json)))).join(',')}]`,
      );
    }),
  );
});

test.each([
  '{"a":12345678901234567890',
  '{12345678901234567890:1}',
  '[012345678901234567890]',
  '[1 12345678901234567890]',
  '[12345678901234567890.]',
  '[a12345678901234567890]',
  '["12345678901234567890]',
])('what is not JSON is refused: %s', (text) => {
  expect(() => parseExactJson(text)).toThrow(SyntaxError);
});

test('one inexact number does not send all other values through a function', () => {
  const parse = vi.spyOn(JSON, 'parse');
  parseExactJson(`[${'1,'.repeat(100_000)}12345678901234567890]`);
  expect(parse.mock.calls.map((call) => call.length)).toEqual([1]);
  parse.mockRestore();
});
