import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { openSecret, sealSecret } from './sealed-secret.ts';

const sealing = { id: randomBytes(8), key: createSecretKey(randomBytes(32)) };

it('gives back what was sealed under the same key for the same place', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.string(), (bytes, context) => {
      const secret = Buffer.from(bytes);
      expect(openSecret(sealing, sealSecret(sealing, secret, context), context)).toEqual(secret);
    }),
  );
});

it('opens nothing that was changed, moved, cut, or sealed under another key', () => {
  const secret = randomBytes(32);
  const sealed = sealSecret(sealing, secret, 'here');
  expect(sealed.includes(secret)).toBe(false);
  expect(openSecret(sealing, sealed, 'there')).toBeNull();
  expect(openSecret({ ...sealing, key: createSecretKey(randomBytes(32)) }, sealed, 'here')).toBeNull();
  expect(openSecret({ ...sealing, id: randomBytes(8) }, sealed, 'here')).toBeNull();
  for (let length = 0; length < sealed.length; length++) {
    expect(openSecret(sealing, sealed.subarray(0, length), 'here')).toBeNull();
  }
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = changed[at]! ^ 1;
    expect(openSecret(sealing, changed, 'here')).toBeNull();
  }
});

it('never seals twice alike', () => {
  const secret = randomBytes(32);
  expect(sealSecret(sealing, secret, 'here')).not.toEqual(sealSecret(sealing, secret, 'here'));
});
