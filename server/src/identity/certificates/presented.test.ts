import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alternativeNames, Authority, der, type Leaf, thumbprint } from '../../../../test/support/certificates.ts';
import { DerError, elements } from './der.ts';
import { readExtensions } from './extensions.ts';
import { readCertificate } from './presented.ts';

const authority = new Authority('Test CA');
const good = 'spiffe://example.org/agent/builder';
const evil = 'spiffe://example.org/agent/admin';

function read(leaf: Leaf) {
  return readCertificate(new X509Certificate(authority.leaf(leaf).cert), 'example.org', Infinity);
}

describe('a certificate', () => {
  it('names its one SPIFFE id, and is known by its thumbprint', () => {
    const { cert } = authority.leaf({ uris: [good], dns: ['builder.example.org'], commonName: 'whoever' });
    const x509 = new X509Certificate(cert);
    expect(readCertificate(x509, 'example.org', Infinity)).toEqual({
      thumbprint: thumbprint(cert),
      validFrom: x509.validFromDate.getTime(),
      validTo: x509.validToDate.getTime(),
      spiffeId: good,
      refusal: null,
    });
  });

  it.each<[string, Leaf, string]>([
    ['no name at all', {}, 'certificate_without_name'],
    ['a name for people only', { commonName: good }, 'certificate_without_name'],
    ['a URI that is no SPIFFE id', { uris: ['https://example.org/agent/builder'] }, 'certificate_without_name'],
    ['two SPIFFE ids', { uris: [good, evil] }, 'certificate_without_name'],
    ['a SPIFFE id twice', { uris: [good, good] }, 'certificate_without_name'],
    ['a SPIFFE id and another URI', { uris: [good, 'https://example.org'] }, 'certificate_without_name'],
    ['an id with a zero byte in it', { uris: [`${good}\0.evil`] }, 'certificate_without_name'],
    ['another trust domain', { uris: ['spiffe://example.com/agent/builder'] }, 'wrong_trust_domain'],
    ['a trust domain that begins alike', { uris: ['spiffe://example.org.evil/agent/builder'] }, 'wrong_trust_domain'],
    ['an authority', { uris: [good], ca: true, keyUsage: 0x80 }, 'certificate_not_leaf'],
    ['a key that signs certificates', { uris: [good], keyUsage: 0x84 }, 'certificate_not_leaf'],
    ['a key that signs revocations', { uris: [good], keyUsage: 0x82 }, 'certificate_not_leaf'],
    ['a key that may not sign', { uris: [good], keyUsage: 0x08 }, 'certificate_not_leaf'],
    ['a key of unknown use', { uris: [good], keyUsage: null }, 'certificate_not_leaf'],
    ['a DNS name that looks like a URI', { dns: [`URI:${evil}`] }, 'certificate_without_name'],
    ['a DNS name with a comma', { dns: [`x, URI:${evil}`] }, 'certificate_without_name'],
    ['a mail address with quotes', { emails: [`"x", URI:"${evil}"`] }, 'certificate_without_name'],
    ['a name with a URI in it', { commonName: `x, URI:${evil}` }, 'certificate_without_name'],
    [
      'alternative names that are there twice',
      { uris: [good], more: [alternativeNames(der(0x86, Buffer.from(evil)))] },
      'certificate_malformed',
    ],
    [
      'a URI in several parts beside its id',
      { more: [alternativeNames(der(0xa6, der(0x16, Buffer.from(evil))), der(0x86, Buffer.from(good)))] },
      'certificate_malformed',
    ],
    [
      'alternative names that end early',
      { more: [alternativeNames(Buffer.from([0x86, 0x7f, 0x73]))] },
      'certificate_malformed',
    ],
  ])('with %s names nobody', (_title, leaf, refusal) => {
    expect(read(leaf)).toMatchObject({ spiffeId: null, refusal });
  });

  it.each<[string, Leaf]>([
    ['DNS names', { dns: [`URI:${evil}`, `x, URI:${evil}`, `"`] }],
    ['mail addresses', { emails: [`x\\", URI:${evil}`] }],
    ['the subject', { commonName: `x, URI:${evil}` }],
  ])('is not confused by what stands in %s beside its id', (_title, leaf) => {
    expect(read({ ...leaf, uris: [good] })).toMatchObject({ spiffeId: good });
  });

  it('with a URI in another form than certificates have names nobody', () => {
    const inside = der(0x86, Buffer.from(evil));
    // A constructed URI, a URI as another kind of name, and one within a directory name.
    for (const tag of [0xa6, 0xa0, 0xa4, 0x96]) {
      expect(read({ more: [alternativeNames(der(tag, inside))] })).toMatchObject({ spiffeId: null });
    }
  });
});

/** Of DER that is none, none. @throws whatever is no DerError */
function urisIn(bytes: Buffer): readonly string[] {
  try {
    return readExtensions(bytes).uris;
  } catch (error) {
    if (error instanceof DerError) return [];
    throw error;
  }
}

describe('DER', () => {
  it('of any names in a certificate is read as it was written', () => {
    const text = fc.string({ unit: 'binary-ascii', maxLength: 300 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), fc.array(text, { maxLength: 4 }), (uris, dns) => {
        const { raw } = new X509Certificate(authority.leaf({ uris, dns }).cert);
        expect(readExtensions(raw)).toEqual({
          uris,
          ca: false,
          keyUsage: { digitalSignature: true, keyCertSign: false, crlSign: false },
          constrainsNames: false,
          unknownCritical: false,
        });
      }),
      { numRuns: 50 },
    );
  });

  it('that is damaged anywhere is refused, or says nothing of another name', () => {
    const { raw } = new X509Certificate(authority.leaf({ uris: [good] }).cert);
    fc.assert(
      fc.property(fc.nat(raw.length - 1), fc.nat(255), fc.nat(raw.length), (at, byte, cut) => {
        const damaged = Buffer.from(raw.subarray(0, cut));
        if (at < cut) damaged[at] = byte;
        expect(urisIn(damaged).length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  it.each(['30', '3080', '308001', '30850000000001', '3082', '300201', '1f8101', '30ff'])('%s is none', (hex) => {
    expect(() => elements(Buffer.from(hex, 'hex'))).toThrow(DerError);
  });
});
