import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestOf } from './digest.ts';

test('two lists of parts have the same digest only if they are the same list', () => {
  const part = fc.oneof(fc.string({ maxLength: 3 }), fc.constant(null));
  const parts = fc.array(part, { maxLength: 3 });
  fc.assert(
    fc.property(parts, parts, (one, other) => {
      expect(digestOf(one).equals(digestOf(other))).toBe(JSON.stringify(one) === JSON.stringify(other));
    }),
  );
});

test('what moves from one part to the next counts, as does an absent part beside an empty one', () => {
  const digests = [['ab', 'c'], ['a', 'bc'], ['abc'], ['abc', ''], ['abc', null], [null, 'abc']].map((parts) =>
    digestOf(parts).toString('hex'),
  );
  expect(new Set(digests).size).toBe(digests.length);
});
