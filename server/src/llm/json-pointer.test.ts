import { expect, test } from 'vitest';
import { referenced } from './json-pointer.ts';

const root = { a: { 'b/c': 1, '~': 2, 'd e': 3, '%': 4 }, list: [5], '': 6 };

test.each([
  ['#', root],
  ['#/a/b~1c', 1],
  ['#/a/~0', 2],
  ['#/a/d%20e', 3],
  ['#/a/%', 4],
  ['#/', 6],
  ['#/list/0', undefined],
  ['#/a/x/y', undefined],
  ['#/constructor', undefined],
  ['#a', undefined],
  ['https://example.com/#/a', undefined],
  [`#/${'a/'.repeat(500)}`, undefined],
])('%s names a member of the schema, or nothing', (reference, named) => {
  expect(referenced(root, reference)).toEqual(named);
});
