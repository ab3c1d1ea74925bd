import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { chainLengthMax } from '../base/limits.ts';
import { type Presented, type PresentedCertificate, readCertificate } from '../identity/certificates/presented.ts';
import type { TrustBundle } from '../net/trust-bundle.ts';
import type { CertificateHolders } from './certificate-holders.ts';
import type { RefusedHandshakes } from './refused-handshakes.ts';
import { stripCertificateHeaders } from './proxied-certificates.ts';

export interface PeerCertificatesOptions {
  readonly trustDomain: string;
  readonly bundle: () => TrustBundle;
  readonly holders: CertificateHolders;
  readonly clock: Clock;
  readonly refused: RefusedHandshakes;
}

// A property, because requests of HTTP/2 see their connection through a proxy object.
const certificateKey = Symbol('client certificate');

type Connection = Socket & { [certificateKey]?: PresentedCertificate };

/** Notes the certificate of each connection that `terminator` accepts. To be called before anybody else is told of them. */
export function watchPeerCertificates(terminator: TlsServer, options: PeerCertificatesOptions): void {
  terminator.on('secureConnection', (socket) => noteConnection(socket, options));
}

/** The certificate of the connection that a request came by, once {@link watchPeerCertificates} looks at its listener. */
export function peerCertificate(request: IncomingMessage): Presented {
  stripCertificateHeaders(request);
  const connection: Connection = request.socket;
  return connection[certificateKey] ?? 'certificate_malformed';
}

function noteConnection(socket: TLSSocket, options: PeerCertificatesOptions): void {
  const { trustDomain, bundle, holders, clock, refused } = options;
  const leaf = socket.getPeerX509Certificate();
  const sent = leaf ? chainAfter(leaf) : [];
  // The bundle may have changed while the handshake was under way.
  const anchor = leaf ? bundle().anchorOf(leaf, sent, clock.now()) : null;
  if (!leaf || anchor === null) {
    refused.add(socket, null);
    socket.destroy();
    return;
  }
  const connection: Connection = socket;
  connection[certificateKey] = readCertificate(leaf, trustDomain, anchor.validTo);
  const forget = holders.add({ leaf, sent, anchor, end: () => socket.destroy() });
  socket.once('close', forget);
}

function chainAfter(leaf: X509Certificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next = leaf.issuerCertificate;
  while (next !== undefined && chain.length < chainLengthMax) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}
