import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LinkClaims, linkKeys, openLink, signLink } from './token.ts';

const newSecret = () => randomBytes(32).toString('base64url');
const secret = newSecret();
const keys = linkKeys([secret]);
const claims: LinkClaims = {
  approvalId: 'apr_1',
  personId: 'psn_1',
  actions: ['approve', 'reject'],
  expiresAtS: 1_800_000_000,
  jti: 'lnk_1',
};

describe('the token of a link', () => {
  it('says what was signed, in characters that a URL takes as they are', () => {
    const token = signLink(keys, claims);
    expect(token).toMatch(/^[\w.-]+$/);
    expect(openLink(keys, token)).toEqual(claims);
  });

  it('is nothing with any one character changed, left out or put in, wherever that is', () => {
    const token = signLink(keys, claims);
    const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=';
    for (let at = 0; at < token.length; at++) {
      for (const character of characters) {
        if (character === token[at]) continue;
        expect(openLink(keys, token.slice(0, at) + character + token.slice(at + 1))).toBeNull();
      }
      expect(openLink(keys, token.slice(0, at) + token.slice(at + 1))).toBeNull();
      expect(openLink(keys, `${token.slice(0, at)}A${token.slice(at)}`)).toBeNull();
    }
    for (const more of ['.', '=', ' ', '\n', '%00']) expect(openLink(keys, token + more)).toBeNull();
    fc.assert(fc.property(fc.string({ maxLength: 300, unit: 'binary' }), (text) => openLink(keys, text) === null));
  });

  it('cannot be put together from two others', () => {
    const [one, other] = [signLink(keys, claims), signLink(keys, { ...claims, approvalId: 'apr_2' })].map((token) =>
      token.split('.'),
    );
    expect(openLink(keys, [...one!.slice(0, 3), other![3]].join('.'))).toBeNull();
    expect(openLink(keys, [...other!.slice(0, 3), one![3]].join('.'))).toBeNull();
  });
});

describe('secrets', () => {
  it('the newest signs, those before it are still taken, and others are not', () => {
    const newest = newSecret();
    const rotated = linkKeys([newest, secret]);
    expect(openLink(rotated, signLink(keys, claims))).toEqual(claims);
    const token = signLink(rotated, claims);
    expect(openLink(linkKeys([newest]), token)).toEqual(claims);
    expect(openLink(keys, token)).toBeNull();
    expect(openLink(linkKeys([newSecret()]), token)).toBeNull();
    expect(openLink([], token)).toBeNull();
  });

  it('of less than 32 bytes are none, and without any nothing is signed', () => {
    expect(() => linkKeys(['x'.repeat(31)])).toThrow('too short');
    expect(() => signLink([], claims)).toThrow('no secret');
  });
});
