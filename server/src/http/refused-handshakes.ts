import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { handshakeLogEveryMs } from '../base/limits.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';

/** Why a connection did not come to be: `closed` by the client, `protocol` for what is no TLS 1.3 with a name of ours. */
type HandshakeRefusal = 'timeout' | 'certificate_missing' | 'certificate_untrusted' | 'closed' | 'protocol';

export interface RefusedHandshakesOptions {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** Tells of TLS handshakes that failed, each in a metric, and of some in the log: anybody can bring them about. */
export class RefusedHandshakes {
  readonly #options: RefusedHandshakesOptions;
  #nextLineAt = -Infinity;
  #untold = 0;

  constructor(options: RefusedHandshakesOptions) {
    this.#options = options;
  }

  /** @param error of the handshake; null when it succeeded and the bundle, as it is now, does not cover the certificate */
  add(socket: TLSSocket, error: Error | null): void {
    const { log, metrics, clock } = this.#options;
    const reason = error === null ? 'certificate_untrusted' : reasonOf(socket, error);
    metrics.tlsHandshakesRefused.inc({ reason });
    const now = clock.monotonic();
    if (now < this.#nextLineAt) {
      this.#untold++;
      return;
    }
    const { remoteAddress: address, authorizationError: verdict } = socket;
    const told = { reason, address, verdict, error: error?.message.trim(), not_logged_before: this.#untold };
    log.info(told, 'a TLS connection was refused');
    this.#nextLineAt = now + handshakeLogEveryMs;
    this.#untold = 0;
  }
}

function reasonOf({ authorizationError }: TLSSocket, error: Error): HandshakeRefusal {
  // OpenSSL's verdict on the certificate; the types say that it were an error.
  if (authorizationError) return 'certificate_untrusted';
  const code = 'code' in error ? error.code : null;
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return 'timeout';
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') return 'certificate_missing';
  return code === 'ECONNRESET' ? 'closed' : 'protocol';
}
