import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { inTransaction } from '../pg/tx.ts';
import { recordKeyUses } from './key-store.ts';
import type { Principal } from './model.ts';

interface Use {
  readonly keyId: string;
  readonly usedAt: number;
  readonly principal: Principal;
  readonly clientAddress: string;
}

const writeEveryMs = 60_000;
const flushEveryMs = 1_000;

/**
 * Writes when keys were last used: at most once a minute for each, many in one statement, off the path of the call.
 * The first use of a key goes to the audit log.
 */
export class KeyUses {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  /** Monotonic time after which the next use of a key is written; only keys that hold get here, so it is no larger than the index. */
  readonly #writeAfter = new Map<string, number>();
  #pending = new Map<string, Use>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  /** @param onError told when the uses of a flush could not be written; the next use of each key tries again */
  constructor(pool: Pool, clock: Clock, onError: (error: unknown) => void) {
    this.#pool = pool;
    this.#clock = clock;
    this.#onError = onError;
  }

  /** Notes that the key of `principal` was used now. */
  note(principal: Principal, clientAddress: string): void {
    const { keyId } = principal;
    if (keyId === null) return;
    const now = this.#clock.monotonic();
    if (now < (this.#writeAfter.get(keyId) ?? 0)) return;
    this.#writeAfter.set(keyId, now + writeEveryMs);
    this.#pending.set(keyId, { keyId, usedAt: this.#clock.now(), principal, clientAddress });
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), flushEveryMs);
    this.#timer.unref();
  }

  /** Writes what is pending, one flush after the other. Never rejects. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #write(): Promise<void> {
    const uses = this.#pending;
    if (uses.size === 0) return;
    this.#pending = new Map();
    const now = this.#clock.monotonic();
    for (const [keyId, due] of this.#writeAfter) if (due <= now) this.#writeAfter.delete(keyId);
    try {
      await inTransaction(this.#pool, async (tx) => {
        for (const keyId of await recordKeyUses(tx, [...uses.values()])) {
          const use = uses.get(keyId);
          if (!use) continue;
          await appendAudit(tx, {
            actor: { kind: use.principal.kind, id: use.principal.id },
            action: 'key.first_used',
            target: keyId,
            projectId: use.principal.projectId,
            requestId: null,
            payload: { client_address: use.clientAddress },
          });
        }
      });
    } catch (error) {
      for (const keyId of uses.keys()) this.#writeAfter.delete(keyId);
      this.#onError(error);
    }
  }
}
