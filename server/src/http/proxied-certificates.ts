import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseItem } from 'structured-headers';
import type { Clock } from '../base/clock.ts';
import { proxiedCertificatesMax } from '../base/limits.ts';
import { type Extensions, readExtensions } from '../identity/certificates/extensions.ts';
import { type Presented, type PresentedCertificate, readCertificate } from '../identity/certificates/presented.ts';
import type { RefusalReason } from '../identity/model.ts';
import { type Anchor, type TrustBundle, subjectOf } from '../net/trust-bundle.ts';
import type { CertificateHolders } from './certificate-holders.ts';

export interface ProxiedCertificatesOptions {
  readonly trustDomain: string;
  readonly bundle: () => TrustBundle;
  readonly holders: CertificateHolders;
  readonly clock: Clock;
  /** Whether a socket's address is that of a proxy that is trusted. */
  readonly isProxy: (socketAddress: string) => boolean;
}

interface Verified {
  readonly leaf: X509Certificate;
  readonly anchor: Anchor;
  readonly presented: PresentedCertificate;
}

const certificateHeader = 'client-cert';
const chainHeader = 'client-cert-chain';

/** TLS client authentication, and any use (RFC 5280, section 4.2.1.12). */
const clientUsages = ['1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

/**
 * Certificates that a proxy, which ended TLS, tells of in `Client-Cert` (RFC 9440). It is believed that its client has
 * the private key; that an authority of the bundle signed the certificate, that both are in force, and what it may be used
 * for is verified here. `Client-Cert-Chain` is not read: the bundle must have the authority that signed the leaf, and none
 * that {@link requireUnrestricted} refuses.
 */
export class ProxiedCertificates {
  readonly #options: ProxiedCertificatesOptions;
  /** By the header's value, under the bundle that vouched for it. */
  readonly #verified = new Map<string, Verified>();
  #verifiedBy: TrustBundle | undefined;

  constructor(options: ProxiedCertificatesOptions) {
    this.#options = options;
  }

  /** The certificate that a trusted proxy tells of; from anybody else the header means nothing. */
  read(request: IncomingMessage, response: ServerResponse): Presented {
    const value = stripCertificateHeaders(request);
    if (value === undefined || !this.#options.isProxy(request.socket.remoteAddress ?? '')) return null;
    const verified = this.#verify(value);
    if (typeof verified === 'string') return verified;
    const { leaf, anchor, presented } = verified;
    const forget = this.#options.holders.add({ leaf, sent: [], anchor, end: () => response.destroy() });
    response.once('close', forget);
    return presented;
  }

  #verify(value: string): Verified | RefusalReason {
    const { trustDomain, bundle: bundleNow, clock } = this.#options;
    const bundle = bundleNow();
    if (this.#verifiedBy !== bundle || this.#verified.size >= proxiedCertificatesMax) this.#verified.clear();
    this.#verifiedBy = bundle;
    const known = this.#verified.get(value);
    if (known) return known;
    const leaf = certificateIn(value);
    if (!leaf) return 'certificate_malformed';
    if (!isForClients(leaf)) return 'certificate_not_leaf';
    const extensions = extensionsOf(leaf);
    if (!extensions) return 'certificate_malformed';
    if (extensions.unknownCritical) return 'certificate_unknown_extension';
    const anchor = bundle.anchorOf(leaf, [], clock.now());
    if (anchor === null) return 'certificate_untrusted';
    const verified = { leaf, anchor, presented: readCertificate(leaf, trustDomain, anchor.validTo) };
    this.#verified.set(value, verified);
    return verified;
  }
}

/**
 * Refuses an authority that is restricted by more than is verified here, where no handshake of ours verifies it.
 * @throws Error that says so
 */
export function requireUnrestricted(authority: X509Certificate): void {
  const refuse = (what: string) =>
    new Error(
      `${subjectOf(authority)} ${what}, which is not verified for certificates that proxies tell of: unset CLIENT_CERT_FROM_PROXIES, or use another authority`,
    );
  const extensions = extensionsOf(authority);
  if (!extensions) throw refuse('cannot be read');
  if (extensions.constrainsNames) throw refuse('may vouch for some names only');
  if (!isForClients(authority)) throw refuse('may not vouch for clients');
  if (extensions.unknownCritical) throw refuse('has critical extensions that are unknown here');
}

function isForClients({ keyUsage }: X509Certificate): boolean {
  // Node means the extended key usage.
  const usages = keyUsage as readonly string[] | undefined;
  return !usages || usages.some((usage) => clientUsages.includes(usage));
}

function extensionsOf({ raw }: X509Certificate): Extensions | null {
  try {
    return readExtensions(raw);
  } catch {
    return null;
  }
}

/** Takes both headers of RFC 9440 out of a request, so that nothing after this sees or passes on what anybody may write. @returns the value of `Client-Cert` */
export function stripCertificateHeaders({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const { [certificateHeader]: value, [chainHeader]: chain } = headers;
  if (value === undefined && chain === undefined) return undefined;
  delete headers[certificateHeader];
  delete headers[chainHeader];
  // Emptied, not taken out: Node counts on as many as it read.
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase();
    if (name === certificateHeader || name === chainHeader) rawHeaders[i + 1] = '';
  }
  return typeof value === 'string' ? value : value?.join(', ');
}

/** The certificate in a byte sequence (RFC 9440, section 2.1). */
function certificateIn(value: string): X509Certificate | null {
  try {
    const [bytes] = parseItem(value);
    return bytes instanceof ArrayBuffer ? new X509Certificate(Buffer.from(bytes)) : null;
  } catch {
    return null;
  }
}
