import fc from 'fast-check';
import { expect, test } from 'vitest';
import { duplicateName } from './duplicate-names.ts';

test.each([
  ['{"a":1,"a":2}', ['a']],
  ['{"a":1,"\\u0061":2}', ['a']],
  ['{"a":{"b" : {"c":1,"c":[]}}}', ['a', 'b', 'c']],
  ['{"a":[{"b":1},{"c":1,"c":1}]}', ['a', 'c']],
  ['{"__proto__":1,"__proto__":2}', ['__proto__']],
  ['{"a":"{\\"b\\":1,\\"b\\":2}","b":"a"}', null],
  ['{"a":{"a":{}},"b":{"a":{}}}', null],
  ['["a","a",{"a":"a"}]', null],
])('%s has twice: %j', (json, path) => {
  expect(duplicateName(json)).toEqual(path);
});

test('no value that was written by JavaScript has any', () => {
  fc.assert(
    fc.property(fc.json(), (json) => {
      expect(duplicateName(json)).toBeNull();
    }),
  );
});

test('a long text is no trouble', () => {
  expect(duplicateName(JSON.stringify({ a: '\\"x'.repeat(2_000_000), b: 1 }))).toBeNull();
});
