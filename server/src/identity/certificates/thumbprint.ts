import { hash } from 'node:crypto';

/** The thumbprint of a certificate, `x5t#S256` of RFC 8705 section 3.1: SHA-256 of its DER in base64url, unpadded. */
export function thumbprintOf(der: Buffer): string {
  return hash('sha256', der, 'base64url');
}
