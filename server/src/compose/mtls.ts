/** Client certificates: who vouches for them, and who is connected by one. Part of the composition root: see main.ts. */
import { resolve } from 'node:path';
import type { Server as TlsServer } from 'node:tls';
import { systemClock } from '../base/clock.ts';
import { certificateWarnEveryMs, certificateWarnShare } from '../base/limits.ts';
import { PortcullisError } from '../base/errors.ts';
import { type Config, certificateProblems } from '../config/config.ts';
import type { Readiness } from '../http/health.ts';
import { CertificateHolders } from '../http/certificate-holders.ts';
import { peerCertificate, watchPeerCertificates } from '../http/peer-certificates.ts';
import { ProxiedCertificates, requireUnrestricted, stripCertificateHeaders } from '../http/proxied-certificates.ts';
import { RefusedHandshakes } from '../http/refused-handshakes.ts';
import type { HttpOptions } from '../http/server.ts';
import { createTlsTerminator } from '../http/transport.ts';
import { isInRanges, parseAddressRange } from '../net/client-address.ts';
import { WatchedTlsFiles } from '../net/tls-files.ts';
import { type TlsFiles, type TlsMaterial, contextOptions } from '../net/tls-material.ts';
import type { Base } from './base.ts';

type CertificateReader = HttpOptions['clientCertificate'];

export interface ClientCertificates {
  /** Of requests that came without TLS, and perhaps through a proxy. */
  readonly ofProxies: CertificateReader;
  /** Of requests that came over TLS that ends here. */
  readonly ofConnections: CertificateReader;
  /** Ends TLS for the listener of MTLS_ADDR; null where there is none. */
  readonly terminator: TlsServer | null;
  readonly readiness: readonly Readiness[];
}

/**
 * Reads certificate, key and trust bundle, and keeps what is in force as new as the files.
 * @throws PortcullisError invalid_argument, for the operator, when a file does not hold or an option is missing
 */
export function openClientCertificates(base: Base, cwd: string): ClientCertificates {
  const { config, log, metrics, stops } = base;
  const [problem] = certificateProblems(config.options);
  if (problem !== undefined) throw new PortcullisError('invalid_argument', problem);
  const files = configuredFiles(config, cwd);
  const { MTLS_TRUST_DOMAIN: trustDomain } = config.options;
  if (files === null || trustDomain === null) return noCertificates;
  const holders = new CertificateHolders();
  const watched: WatchedTlsFiles = new WatchedTlsFiles({
    files,
    clock: systemClock,
    use: (material) => {
      terminator?.setSecureContext(contextOptions(material));
      const ended = holders.endUncovered(material.bundle, systemClock.now());
      metrics.tlsReloads.inc({ result: 'ok' });
      log.info({ connections_ended: ended }, 'new TLS files are in force');
    },
    refuse: (err) => {
      metrics.tlsReloads.inc({ result: 'refused' });
      log.error({ err }, 'new TLS files do not hold: the old ones stay in force');
    },
  });
  const refused = new RefusedHandshakes({ log, metrics, clock: systemClock });
  const terminator = files.server === null ? null : createTerminator(watched.current, refused);
  const shared = { trustDomain, bundle: () => watched.current.bundle, holders, clock: systemClock };
  if (terminator) watchPeerCertificates(terminator, { ...shared, refused });
  metrics.readings.tlsCertificateEndS = () => (watched.current.server?.validTo ?? 0) / 1000;
  stops.add('TLS files', watched.start());
  stops.add('TLS certificate', warnOfEnd(base, watched));
  return {
    ofProxies: config.options.CLIENT_CERT_FROM_PROXIES ? readerOfProxies(config, shared) : withoutCertificate,
    ofConnections: peerCertificate,
    terminator,
    readiness: [{ name: 'tls_files', needed: false, check: () => watched.status }],
  };
}

const withoutCertificate: CertificateReader = (request) => {
  stripCertificateHeaders(request);
  return null;
};

const noCertificates: ClientCertificates = {
  ofProxies: withoutCertificate,
  ofConnections: withoutCertificate,
  terminator: null,
  readiness: [],
};

/** Where the files are; null when nothing asks for them. That none is missing was checked with the configuration. */
function configuredFiles({ options }: Config, cwd: string): TlsFiles | null {
  const { MTLS_ADDR, MTLS_CERT_FILE, MTLS_KEY_FILE, MTLS_TRUST_BUNDLE_FILE, CLIENT_CERT_FROM_PROXIES } = options;
  if (MTLS_TRUST_BUNDLE_FILE === null || (MTLS_ADDR === null && !CLIENT_CERT_FROM_PROXIES)) return null;
  const file = (option: string, path: string) => ({ option, path: resolve(cwd, path) });
  const bundle = file('MTLS_TRUST_BUNDLE_FILE', MTLS_TRUST_BUNDLE_FILE);
  const checkAuthority = CLIENT_CERT_FROM_PROXIES ? requireUnrestricted : () => undefined;
  if (MTLS_ADDR === null || MTLS_CERT_FILE === null || MTLS_KEY_FILE === null)
    return { server: null, bundle, checkAuthority };
  const certificate = file('MTLS_CERT_FILE', MTLS_CERT_FILE);
  return { server: { certificate, key: file('MTLS_KEY_FILE', MTLS_KEY_FILE) }, bundle, checkAuthority };
}

/** Everybody shows a certificate, and the bundle alone decides whose is good. */
function createTerminator(material: TlsMaterial, refused: RefusedHandshakes): TlsServer {
  return createTlsTerminator({ ...contextOptions(material), requestCert: true, rejectUnauthorized: true }, refused);
}

function readerOfProxies(
  { options }: Config,
  shared: Omit<ConstructorParameters<typeof ProxiedCertificates>[0], 'isProxy'>,
): CertificateReader {
  const ranges = options.TRUSTED_PROXIES.map(parseAddressRange);
  const proxied = new ProxiedCertificates({ ...shared, isProxy: (address) => isInRanges(address, ranges) });
  return (request, response) => proxied.read(request, response);
}

/** Tells once of each certificate of ours that it is about to end, in time for somebody to renew it. */
function warnOfEnd({ log }: Base, files: WatchedTlsFiles): () => void {
  let warnedOf = 0;
  const look = () => {
    const { server } = files.current;
    if (!server || server.validTo === warnedOf) return;
    const leftMs = server.validTo - systemClock.now();
    if (leftMs > certificateWarnShare * (server.validTo - server.validFrom)) return;
    warnedOf = server.validTo;
    const end = new Date(server.validTo).toISOString();
    log.warn({ ends_at: end }, 'the certificate in MTLS_CERT_FILE ends soon: put a new one in its place');
  };
  look();
  const timer = setInterval(look, certificateWarnEveryMs);
  return () => clearInterval(timer);
}
