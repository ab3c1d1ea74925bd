import fc from 'fast-check';
import { expect, it } from 'vitest';
import { safeReturnPath } from './return-path.ts';

it.each([
  ['/account', '/account'],
  ['/a/b?c=d&e=%2F', '/a/b?c=d&e=%2F'],
  ['/a#fragment', '/a'],
  ['/a/../b', '/b'],
  ['', '/account'],
  ['account', '/account'],
  ['//evil.example', '/account'],
  ['/\\evil.example', '/account'],
  ['/a\\b', '/account'],
  ['/a/..//evil.example', '/account'],
  ['/\u0009/evil.example', '/account'],
  ['/ü', '/account'],
  ['/sign-in', '/account'],
  ['/sign-in/../sign-out', '/account'],
  ['/sign-inside', '/sign-inside'],
  [['/a'], '/account'],
  [undefined, '/account'],
])('%j is %s', (asked, path) => {
  expect(safeReturnPath(asked)).toBe(path);
});

it('never leaves this server, whatever is asked for', () => {
  const tricky = fc.string({
    unit: fc.constantFrom('/', '\\', '.', ':', '@', '?', '#', 'h', 't', 'p', '\t', '\n', '%', '2', 'f', 'x'),
  });
  fc.assert(
    fc.property(
      fc.oneof(
        tricky,
        tricky.map((rest) => `/${rest}`),
        fc.webUrl(),
        fc.string({ unit: 'binary' }),
      ),
      (asked) => {
        const path = safeReturnPath(asked);
        expect(path.startsWith('/')).toBe(true);
        expect(new URL(path, 'https://gate.example').origin).toBe('https://gate.example');
        expect(path).not.toMatch(/[\r\n]/);
      },
    ),
    { numRuns: 2_000 },
  );
});
