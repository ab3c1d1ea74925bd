import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Authority, publicKeyOf } from '../../../test/support/certificates.ts';
import { TrustBundle } from './trust-bundle.ts';

const root = new Authority('Root');
const other = new Authority('Other');
const between = new Authority('Between', root);
const bundle = new TrustBundle(`a comment\n${root.cert}and more\n`);
const now = Date.now();

const parsed = (cert: string) => new X509Certificate(cert);

function isCovered(cert: string, sent: readonly string[] = [], by = bundle, at = now): boolean {
  return by.anchorOf(parsed(cert), sent.map(parsed), at) !== null;
}

describe('a trust bundle', () => {
  it('covers whom its authorities signed, at once or through others that were sent along', () => {
    expect(isCovered(root.agent('a').cert)).toBe(true);
    expect(isCovered(between.agent('a').cert, [between.cert])).toBe(true);
    expect(isCovered(between.agent('a').cert, [other.cert, between.cert, root.cert])).toBe(true);
    expect(isCovered(between.agent('a').cert, [], new TrustBundle(between.cert))).toBe(true);
    const deep = ['1', '2', '3'].reduce((by, name) => new Authority(name, by), between);
    expect(isCovered(deep.agent('a').cert, [deep.cert, between.cert])).toBe(false);
  });

  it('names the authority, and knows it again', () => {
    const anchor = bundle.anchorOf(parsed(root.agent('a').cert), [], now);
    expect(anchor !== null && bundle.has(anchor)).toBe(true);
    expect(new TrustBundle(other.cert).has(anchor ?? '')).toBe(false);
  });

  it('covers nobody else', () => {
    expect(isCovered(other.agent('a').cert)).toBe(false);
    expect(isCovered(other.agent('a').cert, [other.cert])).toBe(false);
    expect(isCovered(between.agent('a').cert)).toBe(false);
    expect(isCovered(new Authority('Root').agent('a').cert)).toBe(false);
    expect(isCovered(new Authority('Alone').cert)).toBe(false);
  });

  it('does not take a leaf for an authority', () => {
    const leaf = new Authority('Leaf', root, { ca: false, keyUsage: 0x80 });
    expect(isCovered(leaf.agent('a').cert, [leaf.cert])).toBe(false);
    const mayNotSign = new Authority('May not sign', root, { keyUsage: 0x80 });
    expect(isCovered(mayNotSign.agent('a').cert, [mayNotSign.cert])).toBe(false);
  });

  it('looks at dates', () => {
    const { cert } = root.agent('a', { fromS: -20, toS: 20 });
    expect(isCovered(cert)).toBe(true);
    expect(isCovered(cert, [], bundle, now - 25_000)).toBe(false);
    expect(isCovered(cert, [], bundle, now + 25_000)).toBe(false);
    const ended = new Authority('Ended', root, { toS: -10 });
    expect(isCovered(ended.agent('a').cert, [ended.cert])).toBe(false);
    expect(isCovered(ended.agent('a').cert, [], new TrustBundle(ended.cert))).toBe(false);
  });

  it('ends with certificates that sign each other', () => {
    const ring = new Authority('Ring');
    const closing = ring.leafFor(publicKeyOf(ring.cert), { commonName: 'Ring', ca: true, keyUsage: 0x06 });
    const many = Array.from({ length: 200 }, () => closing);
    expect(isCovered(ring.agent('a').cert, [ring.cert, ...many])).toBe(false);
  });

  it.each([
    ['nothing', '', 'it has no certificate in it'],
    ['a leaf', root.cert + root.leaf({ commonName: 'a leaf' }).cert, '"CN=a leaf" is no certificate of an authority'],
    ['a leaf without a subject', root.leaf().cert, 'one without a subject is no certificate of an authority'],
    ['garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', ''],
  ])('is not made of %s', (_title, pem, message) => {
    expect(() => new TrustBundle(pem)).toThrow(message);
  });
});
