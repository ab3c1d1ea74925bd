import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { publicKeyObject, readPublicKey } from './public-key.ts';

function codeOf(text: string): string | null {
  try {
    readPublicKey(text);
    return null;
  } catch (error) {
    return error instanceof PortcullisError ? error.code : String(error);
  }
}

/** A point by its 32 bytes in hex. */
const point = (hex: string) => Buffer.from(hex.padEnd(64, '0'), 'hex').toString('base64url');

describe('an ed25519 public key', () => {
  it('is read from PEM and from base64url, and verifies what its private half signed', () => {
    for (let i = 0; i < 50; i++) {
      const { publicKey, privateKey } = generateKeyPairSync('ed25519');
      const raw = readPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
      expect(readPublicKey(` ${raw.toString('base64url')}\n`)).toEqual(raw);
      const text = randomBytes(20);
      expect(verify(null, text, publicKeyObject(raw), sign(null, text, privateKey))).toBe(true);
    }
  });

  it('is refused in every other form', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const raw = readPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    const x25519 = generateKeyPairSync('x25519').publicKey;
    const others = [
      '',
      'AAAA',
      raw.toString('hex'),
      raw.toString('base64'),
      raw.subarray(1).toString('base64url'),
      Buffer.concat([raw, raw]).toString('base64url'),
      privateKey.export({ type: 'pkcs8', format: 'pem' }),
      rsa.export({ type: 'spki', format: 'pem' }),
      x25519.export({ type: 'spki', format: 'pem' }),
      '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----',
    ];
    expect(others.map(codeOf)).toEqual(others.map(() => 'invalid_argument'));
  });

  it('is refused when it is a point of small order, in whatever encoding', () => {
    const small = [
      '01',
      '00',
      '0000000000000000000000000000000000000000000000000000000000000080',
      '0100000000000000000000000000000000000000000000000000000000000080',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    ].map(point);
    expect(small.map(codeOf)).toEqual(small.map(() => 'invalid_argument'));
  });

  it('is refused when it is on no curve: about half of all numbers', () => {
    const codes = Array.from({ length: 200 }, () => codeOf(randomBytes(32).toString('base64url')));
    const refused = codes.filter((code) => code === 'invalid_argument').length;
    expect(refused).toBeGreaterThan(50);
    expect(refused).toBeLessThan(150);
  });
});
