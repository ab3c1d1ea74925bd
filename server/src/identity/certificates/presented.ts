import type { X509Certificate } from 'node:crypto';
import type { RefusalReason } from '../model.ts';
import { readExtensions } from './extensions.ts';
import { parseSpiffeId } from './spiffe-id.ts';
import { thumbprintOf } from './thumbprint.ts';

/** A client certificate whose holder proved its private key, and that an authority of the trust bundle vouches for. */
export interface PresentedCertificate {
  /** `x5t#S256` (RFC 8705, section 3.1). */
  readonly thumbprint: string;
  /** Epoch milliseconds. A connection may outlive its certificate, so each request is held against them. */
  readonly validFrom: number;
  /** Its end, or that of the authority that vouches for it. */
  readonly validTo: number;
  /** Its SPIFFE id, of our trust domain; null: it names nobody. */
  readonly spiffeId: string | null;
  /** Why it names nobody. */
  readonly refusal: RefusalReason | null;
}

/** What came with a request: a certificate, why what came is none, or nothing. */
export type Presented = PresentedCertificate | RefusalReason | null;

/**
 * @param trustDomain whose certificates the bundle vouches for; those that name another are nobody's
 * @param vouchedTo until when the bundle vouches for it, in epoch milliseconds
 */
export function readCertificate(x509: X509Certificate, trustDomain: string, vouchedTo: number): PresentedCertificate {
  const named = nameIn(x509, trustDomain);
  return {
    thumbprint: thumbprintOf(x509.raw),
    validFrom: x509.validFromDate.getTime(),
    validTo: Math.min(x509.validToDate.getTime(), vouchedTo),
    spiffeId: 'spiffeId' in named ? named.spiffeId : null,
    refusal: 'refusal' in named ? named.refusal : null,
  };
}

type Named = { readonly spiffeId: string } | { readonly refusal: RefusalReason };

/** X.509-SVID, sections 2 to 4: one URI, which is a SPIFFE id, in a certificate that signs for itself and for nobody else. */
function nameIn(x509: X509Certificate, trustDomain: string): Named {
  const extensions = extensionsOf(x509);
  if (!extensions) return { refusal: 'certificate_malformed' };
  const { uris, ca, keyUsage } = extensions;
  if (ca || keyUsage?.digitalSignature !== true || keyUsage.keyCertSign || keyUsage.crlSign) {
    return { refusal: 'certificate_not_leaf' };
  }
  const [uri, ...more] = uris;
  const spiffeId = uri === undefined || more.length > 0 ? null : parseSpiffeId(uri);
  if (uri === undefined || !spiffeId) return { refusal: 'certificate_without_name' };
  return spiffeId.trustDomain === trustDomain ? { spiffeId: uri } : { refusal: 'wrong_trust_domain' };
}

function extensionsOf({ raw }: X509Certificate) {
  try {
    return readExtensions(raw);
  } catch {
    return null;
  }
}
