import { getCACertificates } from 'node:tls';
import { Pool } from 'undici';
import {
  egressConnectionsMax,
  egressConnectMs,
  egressIdleMs,
  egressPoolsMax,
  egressRequestsPerPoolMax,
} from '../../base/limits.ts';
import { EgressError } from './model.ts';
import { vettingLookup } from './resolve.ts';
import type { Target } from './target.ts';

interface Kept {
  readonly pool: Pool;
  inUse: number;
}

export interface PoolsOptions {
  readonly ca: readonly string[];
  readonly nameServers: readonly string[] | undefined;
}

/** Connections, by whose they are and what they lead to. Those that nobody uses end by themselves after a while. */
export class Pools {
  readonly #options: PoolsOptions;
  /** Least recently used first. */
  readonly #pools = new Map<string, Kept>();
  #closed = false;

  constructor(options: PoolsOptions) {
    this.#options = options;
  }

  /**
   * Does something with the connections of one holder to one target.
   * @param holder whose connections they are
   * @throws EgressError busy, where all places are taken, and closed
   */
  async use<T>(holder: string, target: Target, work: (pool: Pool) => Promise<T>): Promise<T> {
    const kept = this.#take(`${holder} ${target.reach} ${target.url.origin}`, target);
    kept.inUse++;
    try {
      return await work(kept.pool);
    } finally {
      kept.inUse--;
    }
  }

  /** Ends all connections at once. */
  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(all.map(({ pool }) => pool.destroy()));
  }

  #take(key: string, target: Target): Kept {
    if (this.#closed) throw new EgressError('closed', 'The gate is shutting down.');
    const kept = this.#pools.get(key) ?? this.#open(target);
    if (kept.inUse >= egressRequestsPerPoolMax)
      throw new EgressError('busy', `${target.host} has too many requests under way.`);
    this.#pools.delete(key);
    this.#pools.set(key, kept);
    return kept;
  }

  #open(target: Target): Kept {
    if (this.#pools.size >= egressPoolsMax) this.#makeRoom();
    const { ca, nameServers } = this.#options;
    const pool = new Pool(target.url.origin, {
      connections: egressConnectionsMax,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: egressIdleMs,
      keepAliveMaxTimeout: egressIdleMs,
      // One deadline is over all of a request: see egress.ts.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        timeout: egressConnectMs,
        lookup: vettingLookup(target, nameServers),
        ...(ca.length > 0 && { ca: trusted(ca) }),
      },
    });
    return { pool, inUse: 0 };
  }

  #makeRoom(): void {
    for (const [key, { pool, inUse }] of this.#pools) {
      if (inUse > 0) continue;
      this.#pools.delete(key);
      void pool.destroy();
      return;
    }
    throw new EgressError('busy', 'Too many requests to the outside are under way.');
  }
}

/** Certificates besides those that Node trusts by itself. */
function trusted(more: readonly string[]): string[] {
  return [...getCACertificates('default'), ...more];
}
