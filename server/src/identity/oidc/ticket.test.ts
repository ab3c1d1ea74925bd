import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { newTicket, openTicket } from './ticket.ts';

const key = createSecretKey(randomBytes(32));
const now = Date.UTC(2026, 10, 23);

it('a ticket holds ten minutes, for the gate that gave it out, and has what the provider must bring back', () => {
  const text = newTicket(key, '/account?a=1&ü', now);
  const ticket = openTicket(key, text, now + 600_000);
  expect(ticket?.returnTo).toBe('/account?a=1&ü');
  // RFC 7636, 4.1: 43 characters at least.
  for (const part of [ticket?.state, ticket?.nonce, ticket?.codeVerifier]) expect(part).toMatch(/^[\w-]{43}$/);
  expect(new Set([ticket?.state, ticket?.nonce, ticket?.codeVerifier]).size).toBe(3);
  for (const secret of [ticket?.state, ticket?.nonce, ticket?.codeVerifier]) expect(text).not.toContain(secret);
  expect(openTicket(key, text, now + 600_001)).toBeNull();
  // Of another replica, whose clock is ahead a little, and not more.
  expect(openTicket(key, text, now - 30_000)).not.toBeNull();
  expect(openTicket(key, text, now - 30_001)).toBeNull();
  expect(openTicket(createSecretKey(randomBytes(32)), text, now)).toBeNull();
  expect(openTicket(key, newTicket(key, '/', now), now)?.state).not.toBe(ticket?.state);
});

it('a ticket of which anything was changed is none', () => {
  const text = newTicket(key, '/account', now);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.stringMatching(/^[\w.-]$/), (at, character) => {
      fc.pre(text[at] !== character);
      expect(openTicket(key, text.slice(0, at) + character + text.slice(at + 1), now)).toBeNull();
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 200, unit: 'binary' }), (other) => openTicket(key, other, now) === null),
  );
});
