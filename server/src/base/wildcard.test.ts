import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchesWildcard } from './wildcard.ts';

describe('a wildcard', () => {
  test('matches as a regular expression in which only the star is special', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 12 });
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
    fc.assert(
      fc.property(text, name, (pattern, candidate) => {
        const expression = new RegExp(`^${pattern.replaceAll('.', String.raw`\.`).replaceAll(/\*+/g, '.*')}$`);
        expect(matchesWildcard(pattern, candidate)).toBe(expression.test(candidate));
      }),
      { numRuns: 2000 },
    );
  });

  test('that an attacker chose costs no more than the product of the lengths', () => {
    expect(matchesWildcard(`${'a*'.repeat(200)}b`, 'a'.repeat(2000))).toBe(false);
  });
});
