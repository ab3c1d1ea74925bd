import { X509Certificate } from 'node:crypto';
import { authoritiesMax, chainLengthMax } from '../base/limits.ts';

/** The authorities that vouch for client certificates; nobody else does. */
export class TrustBundle {
  readonly #authorities: readonly X509Certificate[];
  readonly #fingerprints: ReadonlySet<string>;

  /** @param pem certificates of authorities @throws Error that says what is wrong with it */
  constructor(pem: string) {
    const all = certificatesIn(pem);
    if (all.length === 0) throw new Error('it has no certificate in it');
    if (all.length > authoritiesMax) throw new Error(`it has more than ${authoritiesMax} certificates in it`);
    const leaf = all.find(({ ca }) => !ca);
    if (leaf) throw new Error(`${subjectOf(leaf)} is no certificate of an authority`);
    this.#authorities = all;
    this.#fingerprints = new Set(all.map(({ fingerprint256 }) => fingerprint256));
  }

  /** Whether it has this authority, as {@link anchorOf} names it. */
  has(anchor: string): boolean {
    return this.#fingerprints.has(anchor);
  }

  /**
   * The authority that vouches for `leaf`, at once or through some of the certificates that were sent with it: by names,
   * signatures and dates. Null when there is none. What authorities may be restricted to (names, lengths of paths) is
   * checked by the handshake and not again here.
   */
  anchorOf(leaf: X509Certificate, sent: readonly X509Certificate[], nowMs: number): string | null {
    const isGood = (issuer: X509Certificate, of: X509Certificate) =>
      issuer.ca && isInForce(issuer, nowMs) && of.checkIssued(issuer) && of.verify(issuer.publicKey);
    if (!isInForce(leaf, nowMs)) return null;
    const between = sent.slice(0, chainLengthMax);
    // Each further certificate is used once, so that whoever sends them cannot make this long.
    const reached = [leaf];
    for (const certificate of reached) {
      const anchor = this.#authorities.find((authority) => isGood(authority, certificate));
      if (anchor) return anchor.fingerprint256;
      reached.push(...between.filter((one) => !reached.includes(one) && isGood(one, certificate)));
    }
    return null;
  }
}

/** The certificates of a PEM file, in their order; what stands between them is not looked at. @throws Error */
export function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).map(
    (text) => new X509Certificate(text),
  );
}

function isInForce({ validFromDate, validToDate }: X509Certificate, nowMs: number): boolean {
  return validFromDate.getTime() <= nowMs && nowMs <= validToDate.getTime();
}

function subjectOf({ subject }: X509Certificate): string {
  return subject ? `"${subject.replaceAll('\n', ', ')}"` : 'one without a subject';
}
