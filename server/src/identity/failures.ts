import type { Clock } from '../base/clock.ts';
import {
  failureAddressesMax,
  failureDelayMaxS,
  failureKeysPerAddressMax,
  failuresFree,
  failureWindowMs,
} from '../base/limits.ts';

/** Failures of one credential, or of one address. */
interface Tally {
  /** When the failures came that cost no wait: at most `failuresFree`. */
  recent: readonly number[];
  /** How often a wait was set; the wait doubles with each. */
  waits: number;
  waitUntil: number;
}

interface AddressTally {
  readonly whole: Tally;
  readonly credentials: Map<string, Tally>;
}

/**
 * Failed credentials, counted per (address, credential) and per address. After five in five minutes each further
 * failure sets a wait of 2, 4, 8 … 300 s; five quiet minutes after the last wait forgive all. A credential that has
 * waits of its own no longer counts against its address, so that one stale key in a loop does not keep its neighbours'
 * typing errors waiting.
 *
 * Asked about failures only: a credential that holds never comes here. Bounded: entries stay until they are forgiven,
 * and a full store makes failures from further addresses wait.
 */
export class FailedCredentials {
  readonly #addresses = new Map<string, AddressTally>();
  readonly #clock: Clock;
  #sweepAfter = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Counts a failure.
   * @param address prefix of the client's address (net/client-address.ts, addressPrefix)
   * @param credential what tells the presented credential from others; not kept beyond the window
   * @returns milliseconds to wait, 0 when the failure is free
   */
  count(address: string, credential: string): number {
    const now = this.#clock.monotonic();
    const tally = this.#tallyOf(address, now);
    if (!tally) return this.#sweepAfter - now;
    const own = credentialTally(tally, credential, now);
    const ownWait = own ? countIn(own, now) : 0;
    return ownWait === 0 ? countIn(tally.whole, now) : Math.max(ownWait, tally.whole.waitUntil - now);
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#addresses.size;
  }

  #tallyOf(address: string, now: number): AddressTally | null {
    const known = this.#addresses.get(address);
    if (known) return known;
    if (this.#addresses.size >= failureAddressesMax) this.#sweep(now);
    if (this.#addresses.size >= failureAddressesMax) return null;
    const tally: AddressTally = { whole: newTally(), credentials: new Map() };
    this.#addresses.set(address, tally);
    return tally;
  }

  // A flood of new addresses must not cost a scan each.
  #sweep(now: number): void {
    if (now < this.#sweepAfter) return;
    this.#sweepAfter = now + 1000;
    for (const [address, tally] of this.#addresses) {
      for (const [credential, own] of tally.credentials) if (isForgiven(own, now)) tally.credentials.delete(credential);
      if (tally.credentials.size === 0 && isForgiven(tally.whole, now)) this.#addresses.delete(address);
    }
  }
}

function newTally(): Tally {
  return { recent: [], waits: 0, waitUntil: Number.NEGATIVE_INFINITY };
}

/** The credential's tally; null when the address has tried so many that only the address itself is counted. */
function credentialTally({ credentials }: AddressTally, credential: string, now: number): Tally | null {
  const known = credentials.get(credential);
  if (known) return known;
  if (credentials.size >= failureKeysPerAddressMax) {
    for (const [other, tally] of credentials) if (isForgiven(tally, now)) credentials.delete(other);
    if (credentials.size >= failureKeysPerAddressMax) return null;
  }
  const tally = newTally();
  credentials.set(credential, tally);
  return tally;
}

// A try during the wait neither counts nor lengthens it: the caller was told when to come back.
function countIn(tally: Tally, now: number): number {
  if (now < tally.waitUntil) return tally.waitUntil - now;
  if (isForgiven(tally, now)) tally.waits = 0;
  tally.recent = tally.recent.filter((at) => at > now - failureWindowMs);
  if (tally.waits === 0 && tally.recent.length < failuresFree) {
    tally.recent = [...tally.recent, now];
    return 0;
  }
  tally.waits++;
  const waitMs = Math.min(2 ** tally.waits, failureDelayMaxS) * 1000;
  tally.waitUntil = now + waitMs;
  return waitMs;
}

function isForgiven(tally: Tally, now: number): boolean {
  const last = Math.max(tally.waitUntil, tally.recent.at(-1) ?? Number.NEGATIVE_INFINITY);
  return last + failureWindowMs <= now;
}
