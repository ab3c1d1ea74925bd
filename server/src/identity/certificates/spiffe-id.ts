/** SPIFFE-ID, sections 2.1 to 2.3. */
const idBytesMax = 2048;
const trustDomainCharsMax = 255;

const trustDomainPattern = /^[a-z0-9._-]+$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;

/** A SPIFFE id in its two parts. */
export interface SpiffeId {
  readonly trustDomain: string;
  /** What follows the trust domain, without slashes; none for the id of the trust domain itself. */
  readonly segments: readonly string[];
}

/** Whether it can be the name of a trust domain. */
export function isTrustDomain(text: string): boolean {
  return text.length <= trustDomainCharsMax && trustDomainPattern.test(text);
}

/**
 * Reads a SPIFFE id. Nothing is normalized: an id has one spelling, and what is spelt otherwise (upper case, a port, a
 * query, percent-encoding, an empty or dot segment) is none.
 */
export function parseSpiffeId(text: string): SpiffeId | null {
  const scheme = 'spiffe://';
  // Only ASCII matches below, so characters are bytes.
  if (!text.startsWith(scheme) || text.length > idBytesMax) return null;
  const [trustDomain = '', ...segments] = text.slice(scheme.length).split('/');
  return isTrustDomain(trustDomain) && segments.every(isSegment) ? { trustDomain, segments } : null;
}

function isSegment(text: string): boolean {
  return segmentPattern.test(text) && text !== '.' && text !== '..';
}
