import { X509Certificate } from 'node:crypto';
import { authoritiesMax, chainLengthMax } from '../base/limits.ts';

/** The authority that vouches for a certificate. */
export interface Anchor {
  readonly fingerprint: string;
  /** Epoch milliseconds. It vouches for nobody any more when it has ended itself. */
  readonly validTo: number;
}

/** The authorities that vouch for client certificates; nobody else does. */
export class TrustBundle {
  readonly authorities: readonly X509Certificate[];
  readonly #fingerprints: ReadonlySet<string>;

  /** @param pem certificates of authorities @throws Error that says what is wrong with it */
  constructor(pem: string) {
    const all = certificatesIn(pem);
    if (all.length === 0) throw new Error('it has no certificate in it');
    if (all.length > authoritiesMax) throw new Error(`it has more than ${authoritiesMax} certificates in it`);
    const leaf = all.find(({ ca }) => !ca);
    if (leaf) throw new Error(`${subjectOf(leaf)} is no certificate of an authority`);
    this.authorities = all;
    this.#fingerprints = new Set(all.map(({ fingerprint256 }) => fingerprint256));
  }

  /** Whether it has this authority, as {@link anchorOf} names it. */
  has({ fingerprint }: Anchor): boolean {
    return this.#fingerprints.has(fingerprint);
  }

  /** Whether some authority of it can vouch for anybody now. */
  isInForce(nowMs: number): boolean {
    return this.authorities.some((authority) => isInForce(authority, nowMs));
  }

  /**
   * The authority that vouches for `leaf`, at once or through some of the certificates that were sent with it: by names,
   * signatures, dates, and whether a key may sign certificates. Null when there is none. Nothing else that restricts an
   * authority (names, usages, lengths of paths, critical extensions) is looked at here: OpenSSL did at the handshake; for
   * certificates that proxies tell of there was none, and http/proxied-certificates.ts takes no such authorities.
   */
  anchorOf(leaf: X509Certificate, sent: readonly X509Certificate[], nowMs: number): Anchor | null {
    const isGood = (issuer: X509Certificate, of: X509Certificate) =>
      issuer.ca && isInForce(issuer, nowMs) && of.checkIssued(issuer) && of.verify(issuer.publicKey);
    if (!isInForce(leaf, nowMs)) return null;
    const between = sent.slice(0, chainLengthMax);
    // Each further certificate is used once, so that whoever sends them cannot make this long.
    const reached = [leaf];
    for (const certificate of reached) {
      const anchors = this.authorities
        .filter((authority) => isGood(authority, certificate))
        .map(({ fingerprint256, validToDate }) => ({ fingerprint: fingerprint256, validTo: validToDate.getTime() }));
      // An authority may be there twice while it is renewed under its key.
      const [longest] = anchors.toSorted((a, b) => b.validTo - a.validTo);
      if (longest) return longest;
      reached.push(...between.filter((one) => !reached.includes(one) && isGood(one, certificate)));
    }
    return null;
  }
}

/**
 * The certificates of a PEM file, in their order; what stands between them is not looked at.
 * @throws Error, also for one that is not whole: a file that was cut off would take those in it from their holders
 */
export function certificatesIn(pem: string): X509Certificate[] {
  const whole = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const begun = pem.match(/BEGIN (?:X509 |TRUSTED )?CERTIFICATE/g) ?? [];
  if (begun.length > whole.length)
    throw new Error('a certificate in it is not whole, or not in the form "BEGIN CERTIFICATE"');
  return whole.map((text) => new X509Certificate(text));
}

function isInForce({ validFromDate, validToDate }: X509Certificate, nowMs: number): boolean {
  return validFromDate.getTime() <= nowMs && nowMs <= validToDate.getTime();
}

/** For an error message. */
export function subjectOf({ subject }: X509Certificate): string {
  return subject ? `"${subject.replaceAll('\n', ', ')}"` : 'one without a subject';
}
