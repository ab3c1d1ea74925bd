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
    if (!anchor) throw new Error('it names none');
    expect(bundle.has(anchor)).toBe(true);
    expect(new TrustBundle(other.cert).has(anchor)).toBe(false);
    expect(anchor.validTo).toBe(parsed(root.cert).validToDate.getTime());
  });

  it('names the one that lives longest, where an authority was renewed under its key', () => {
    const renewed = root.leafFor(publicKeyOf(root.cert), { commonName: 'Root', ca: true, keyUsage: 0x06, toS: 9_000 });
    for (const pem of [root.cert + renewed, renewed + root.cert]) {
      const anchor = new TrustBundle(pem).anchorOf(parsed(root.agent('a').cert), [], now);
      expect(anchor?.validTo).toBe(parsed(renewed).validToDate.getTime());
    }
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
    ['one and part of another', root.cert + other.cert.slice(0, -40), 'a certificate in it is not whole'],
    ['certificates in another form', root.cert + other.cert.replaceAll(' CERT', ' X509 CERT'), 'not whole'],
    ['garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', ''],
  ])('is not made of %s', (_title, pem, message) => {
    expect(() => new TrustBundle(pem)).toThrow(message);
  });
});
