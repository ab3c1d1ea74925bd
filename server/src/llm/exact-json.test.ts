import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseExactJson } from './exact-json.ts';

test.each([
  '12345678901234567890',
  '-9007199254740993',
  '1e400',
  '0.12345678901234567890123',
  '{"a":[1e999,1]}',
  '[0.1,1e5,-0]',
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

test('what is not JSON is refused', () => {
  expect(() => parseExactJson('{"a":12345678901234567890')).toThrow(SyntaxError);
});
