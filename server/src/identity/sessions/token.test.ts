import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { csrfToken, isCsrfToken, newSessionToken, sessionDigest } from './token.ts';

const key = createSecretKey(randomBytes(32));

describe("the token of a session's cookie", () => {
  it('is new each time, and no part of what finds it', () => {
    const [one, other] = [newSessionToken(key), newSessionToken(key)];
    expect(one).not.toBe(other);
    expect(one).toMatch(/^[\w-]{65}$/);
    expect(sessionDigest(key, one)).toHaveLength(32);
    expect(sessionDigest(key, one)).toEqual(sessionDigest(key, one));
    expect(sessionDigest(key, one)).not.toEqual(sessionDigest(key, other));
  });

  it('is nothing when anything of it was changed, or another gate made it', () => {
    const token = newSessionToken(key);
    expect(sessionDigest(createSecretKey(randomBytes(32)), token)).toBeNull();
    fc.assert(
      fc.property(fc.nat(64), fc.stringMatching(/^[\w-]$/), (at, character) => {
        fc.pre(token[at] !== character);
        expect(sessionDigest(key, token.slice(0, at) + character + token.slice(at + 1))).toBeNull();
      }),
    );
    fc.assert(fc.property(fc.string({ maxLength: 100, unit: 'binary' }), (text) => sessionDigest(key, text) === null));
  });
});

it('a CSRF token fits its own session alone, and does not tell the token', () => {
  const [one, other] = [newSessionToken(key), newSessionToken(key)];
  expect(isCsrfToken(one, csrfToken(one))).toBe(true);
  expect(isCsrfToken(one, csrfToken(other))).toBe(false);
  expect(csrfToken(one)).toMatch(/^[\w-]{43}$/);
  fc.assert(fc.property(fc.string({ maxLength: 60, unit: 'binary' }), (text) => !isCsrfToken(one, text)));
});
