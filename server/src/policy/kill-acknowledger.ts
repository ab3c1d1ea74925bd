import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { killAcknowledgementRetryMs, killAcknowledgementsWaitingMax } from '../base/limits.ts';
import { outsideRequests } from '../pg/request-scope.ts';
import { insertAcknowledgement } from './acknowledgement-store.ts';
import type { Flights } from './flights.ts';
import type { KillIndex } from './kill-index.ts';
import { isFor } from './kill-rules.ts';

export interface AcknowledgerOptions {
  readonly kills: KillIndex;
  readonly flights: Flights;
  readonly clock: Clock;
  /** Told when acknowledgements could not be written: they are tried again. */
  readonly onError: (error: unknown) => void;
}

/** An acknowledgement that waits to be written. */
interface Applied {
  readonly killSwitchId: string;
  /** Monotonic milliseconds at which all that matched was stopped here. */
  readonly at: number;
  readonly calls: number;
  readonly streams: number;
  readonly ended: number;
}

/**
 * Puts applied kill switches into effect, and says so in the database: who engaged one learns from it which replicas it
 * reached, and when. Best effort: what cannot be written is missing there, which nobody takes for success.
 */
export class KillAcknowledger {
  readonly #options: AcknowledgerOptions;
  #waiting: Applied[] = [];
  /** Null until this process is known to the database. */
  #write: ((applied: Applied) => Promise<void>) | null = null;
  #writing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
  }

  /** To be called in the turn in which control state changed: ends what it stops now. */
  sweep(): void {
    const { kills, flights, clock } = this.#options;
    const applied = kills.takeApplied();
    const found = applied.map((kill) => flights.count((subject) => isFor(kill, subject)));
    const reasons = flights.sweep();
    const at = clock.monotonic();
    for (const [index, { id }] of applied.entries()) {
      const { calls = 0, streams = 0 } = found[index] ?? {};
      const ended = reasons.filter(({ members }) => members.rule === id).length;
      this.#waiting.push({ killSwitchId: id, at, calls, streams, ended });
    }
    // The newest are those that somebody waits for.
    this.#waiting = this.#waiting.slice(-killAcknowledgementsWaitingMax);
    if (applied.length > 0) this.#flushSoon();
  }

  /** From now on writes, as this instance, also what was applied before. */
  start(pool: Pool, instanceId: string): void {
    const { clock } = this.#options;
    this.#write = ({ at, ...found }) =>
      insertAcknowledgement(pool, instanceId, { ...found, agoMs: clock.monotonic() - at });
    this.#flushSoon();
  }

  /** Waits for what is being written. */
  async stop(): Promise<void> {
    this.#write = null;
    clearTimeout(this.#retry);
    await this.#writing;
  }

  readonly #flushSoon = (): void => {
    const write = this.#write;
    if (write && this.#waiting.length > 0) this.#writing ??= outsideRequests(() => this.#flush(write));
  };

  /** Writes the newest first, until nothing waits or the database fails. */
  async #flush(write: (applied: Applied) => Promise<void>): Promise<void> {
    try {
      for (let next = this.#waiting.at(-1); next !== undefined; next = this.#waiting.at(-1)) {
        const written = next;
        await write(written);
        this.#waiting = this.#waiting.filter((one) => one !== written);
      }
    } catch (error) {
      this.#options.onError(error);
      clearTimeout(this.#retry);
      if (this.#write) this.#retry = setTimeout(this.#flushSoon, killAcknowledgementRetryMs);
    } finally {
      this.#writing = undefined;
    }
  }
}
