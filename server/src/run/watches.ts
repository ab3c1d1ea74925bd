import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { runWatchEveryMs, runWatchesMax, runWatchesPerCallerMax } from '../base/telemetry-limits.ts';
import type { Principal } from '../identity/model.ts';
import { type Look, lookAt } from './watch-store.ts';

export interface RunWatchesOptions {
  readonly pool: Pool;
  readonly clock: Clock;
  /** The process is being stopped: whoever watches must go elsewhere. */
  readonly draining: () => boolean;
}

/** Where a look stood. */
type Seen = Pick<Look, 'upTo' | 'next'>;

/** One that watches a run. */
export interface Watch {
  readonly runId: string;
  /** Something may have been told since it last read. */
  dirty: boolean;
  /** The run is over, and all that was told before its end is below `upTo`. */
  ended: boolean;
  /** Where the look that first saw its end stood; null before. */
  endedAt: bigint | null;
}

/**
 * The watches of a process. One look a second asks for all of them which of their runs have anything new; each then reads its
 * own pages, as fast as it can hand them on.
 */
export class RunWatches {
  readonly #options: RunWatchesOptions;
  readonly #watches = new Set<Watch>();
  readonly #perCaller = new Map<string, number>();
  /** How far the last look saw; null while nobody watches. */
  #seen: Seen | null = null;
  /** Monotonic milliseconds. */
  #lookedAt = -Infinity;
  /** The look to come, or under way. */
  #looking: Promise<void> | null = null;

  constructor(options: RunWatchesOptions) {
    this.#options = options;
  }

  /**
   * Begins to watch; `end` must follow.
   * @throws PortcullisError rate_limited where the process, or the caller, has too many watches
   */
  begin({ kind, id }: Principal, runId: string): { readonly watch: Watch; readonly end: () => void } {
    const caller = `${kind} ${id}`;
    const count = this.#perCaller.get(caller) ?? 0;
    if (count >= runWatchesPerCallerMax || this.#watches.size >= runWatchesMax) {
      const whose = count >= runWatchesPerCallerMax ? 'You have' : 'This process has';
      throw new PortcullisError('rate_limited', `${whose} as many watches of runs as there may be: end one first.`, {
        rule: 'runs.watches',
        retryAfterS: 10,
      });
    }
    const watch: Watch = { runId, dirty: true, ended: false, endedAt: null };
    this.#watches.add(watch);
    this.#perCaller.set(caller, count + 1);
    const end = () => {
      if (!this.#watches.delete(watch)) return;
      const left = (this.#perCaller.get(caller) ?? 1) - 1;
      if (left > 0) this.#perCaller.set(caller, left);
      else this.#perCaller.delete(caller);
      // What comes while nobody watches would have to be looked through by the next one.
      if (this.#watches.size === 0) this.#seen = null;
    };
    return { watch, end };
  }

  /** Where the last look stood; null before the first. */
  get seen(): Seen | null {
    return this.#seen;
  }

  /** @throws PortcullisError unavailable when the process is being stopped */
  requireServing(): void {
    if (!this.#options.draining()) return;
    throw new PortcullisError(
      'unavailable',
      'The gate is being stopped: go on from the last position, at another one.',
      { retryAfterS: 1 },
    );
  }

  /**
   * Waits for the next look, which may be under way.
   * @throws PortcullisError unavailable when the process is being stopped; DatabaseError
   */
  next(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { pool, clock } = this.#options;
    await sleep(Math.max(0, this.#lookedAt + runWatchEveryMs - clock.monotonic()));
    this.requireServing();
    this.#lookedAt = clock.monotonic();
    const runIds = [...new Set([...this.#watches].map(({ runId }) => runId))];
    const { upTo, next, told, ended } = await lookAt(pool, runIds, this.#seen?.upTo ?? null, clock.now());
    // From here to the end nothing else runs in between. Who began to watch meanwhile has still to read all that there is.
    for (const watch of this.#watches) {
      watch.dirty ||= told.includes(watch.runId);
      if (ended.includes(watch.runId)) watch.endedAt ??= next;
      watch.ended = watch.endedAt !== null && watch.endedAt <= upTo;
    }
    this.#seen = this.#watches.size > 0 ? { upTo, next } : null;
  }
}
