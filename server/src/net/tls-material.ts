import { type X509Certificate, constants, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { PortcullisError } from '../base/errors.ts';
import { TrustBundle, certificatesIn } from './trust-bundle.ts';

/** Where the material is, each by the name of the option that says so. */
export interface TlsFiles {
  /** Our own certificate and its key; null where no listener ends TLS. */
  readonly server: { readonly certificate: TlsFile; readonly key: TlsFile } | null;
  readonly bundle: TlsFile;
  /** @throws Error that says why this authority cannot be one of the bundle */
  readonly checkAuthority: (authority: X509Certificate) => void;
}

export interface TlsFile {
  readonly option: string;
  readonly path: string;
}

/** What a listener proves who it is with, and whom it lets in. */
export interface TlsMaterial {
  readonly server: ServerCertificate | null;
  readonly bundle: TrustBundle;
  readonly bundlePem: string;
}

export interface ServerCertificate {
  readonly certificate: string;
  readonly key: string;
  /** Epoch milliseconds. */
  readonly validFrom: number;
  readonly validTo: number;
}

/**
 * Reads the files, and checks that what they hold is in force and fits together.
 * @throws PortcullisError invalid_argument, which names the option of the file that does not hold
 */
export function loadTlsMaterial({ server, bundle, checkAuthority }: TlsFiles, nowMs: number): TlsMaterial {
  const bundlePem = read(bundle);
  const material = {
    server: server === null ? null : serverCertificate(server, nowMs),
    bundle: holding(bundle, () => new TrustBundle(bundlePem)),
    bundlePem,
  };
  holding(bundle, () => {
    if (!material.bundle.isInForce(nowMs)) throw new Error('none of its authorities is in force now');
    for (const authority of material.bundle.authorities) checkAuthority(authority);
  });
  // What OpenSSL alone would find, such as a key that is too short.
  if (server) holding(server.certificate, () => createSecureContext(contextOptions(material)));
  return material;
}

/** How connections are made with the material. TLS 1.3 alone is spoken, and no session is taken up again. */
export function contextOptions({ server, bundlePem }: TlsMaterial) {
  return {
    minVersion: 'TLSv1.3' as const,
    ca: bundlePem,
    // With these tickets only name a session that nobody keeps: each connection proves the client's key anew.
    secureOptions: constants.SSL_OP_NO_TICKET,
    ...(server && { cert: server.certificate, key: server.key }),
  };
}

function serverCertificate({ certificate, key }: NonNullable<TlsFiles['server']>, nowMs: number): ServerCertificate {
  const pem = read(certificate);
  const keyPem = read(key);
  const leaf = holding(certificate, () => firstOf(certificatesIn(pem)));
  const privateKey = holding(key, () => createPrivateKey(keyPem));
  holding(key, () => {
    if (!leaf.checkPrivateKey(privateKey))
      throw new Error(`it is not the key of the certificate in ${certificate.option}`);
  });
  const [validFrom, validTo] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
  holding(certificate, () => {
    if (validTo <= nowMs) throw new Error(`its certificate expired at ${leaf.validToDate.toISOString()}`);
    if (nowMs < validFrom) throw new Error(`its certificate is in force from ${leaf.validFromDate.toISOString()} on`);
  });
  return { certificate: pem, key: keyPem, validFrom, validTo };
}

function firstOf([leaf]: readonly X509Certificate[]): X509Certificate {
  if (!leaf) throw new Error('it has no certificate in it');
  return leaf;
}

function read(file: TlsFile): string {
  return holding(file, () => readFileSync(file.path, 'utf8'));
}

function holding<T>({ option }: TlsFile, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PortcullisError('invalid_argument', `${option} does not hold: ${reason}.`, { cause });
  }
}
