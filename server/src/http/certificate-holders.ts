import type { X509Certificate } from 'node:crypto';
import type { Anchor, TrustBundle } from '../net/trust-bundle.ts';

/** A connection or request that was let in by a certificate. */
export interface CertificateHolder {
  readonly leaf: X509Certificate;
  /** What its holder sent along. */
  readonly sent: readonly X509Certificate[];
  /** The authority of the bundle that vouched for it. */
  readonly anchor: Anchor;
  readonly end: () => void;
}

/** Everybody who is connected by a certificate now: whom the trust bundle no longer covers does not stay. */
export class CertificateHolders {
  readonly #holders = new Set<CertificateHolder>();

  /** @returns forgets it */
  add(holder: CertificateHolder): () => void {
    this.#holders.add(holder);
    return () => this.#holders.delete(holder);
  }

  /** Ends those whom `bundle` does not cover, whatever they have under way. @returns how many */
  endUncovered(bundle: TrustBundle, nowMs: number): number {
    let ended = 0;
    for (const { leaf, sent, anchor, end } of this.#holders) {
      if (bundle.has(anchor) || bundle.anchorOf(leaf, sent, nowMs) !== null) continue;
      end();
      ended++;
    }
    return ended;
  }
}
