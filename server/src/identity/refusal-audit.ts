import type { Pool } from 'pg';
import type { AuditAction } from '../audit/actions.ts';
import { appendAudit, type AuditEntry } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { nameCharsMax, refusalGroupsMax } from '../base/limits.ts';
import { addressPrefix } from '../net/client-address.ts';
import { inTransaction } from '../pg/tx.ts';
import type { Principal } from './model.ts';
import type { Refused } from './verifier.ts';

/** What callers can bring about as often as they like. */
export type CountedAction = Extract<
  AuditAction,
  'credential.refused' | 'scope.denied' | 'call.denied' | 'budget.refused' | 'metrics.read'
>;

type CountedEntry = AuditEntry & { readonly action: CountedAction };

/** Refusals that differ in nothing that the audit log needs to tell apart. */
interface Group {
  readonly first: CountedEntry;
  readonly rule: string;
  /** Since the last entry; the first itself is not counted. */
  count: number;
  since: number;
}

const groupMs = 60_000;
const flushEveryMs = 1_000;

/**
 * The audit of what repeats: the first refusal of a kind verbatim, then one entry a minute that counts the others, so
 * that nobody can fill the log by being refused. Kinds are bounded for each action, so that strangers cannot push known
 * callers out: beyond the limit refusals are only counted, all of an action together.
 */
export class RefusalAudit {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #groups = new Map<CountedAction, Map<string, Group>>();
  /** Entries not yet written: those of a failed flush are kept for the next. */
  #queue: AuditEntry[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  /** @param onError told when entries could not be written; the next flush tries again */
  constructor(pool: Pool, clock: Clock, onError: (error: unknown) => void) {
    this.#pool = pool;
    this.#clock = clock;
    this.#onError = onError;
  }

  /** Notes what `rule` refused to a known caller, or that it read metrics. */
  note(action: CountedAction, by: Principal, rule: string, requestId: string): void {
    // A rule may hold what a caller wrote; PostgreSQL takes no zero byte, and one bad entry would hold up all.
    const line = rule.replace(/\p{C}/gu, '?').slice(0, nameCharsMax);
    this.#count(`${by.projectId}\0${by.id}`, line, {
      actor: { kind: by.kind, id: by.id },
      action,
      target: line,
      projectId: by.projectId,
      requestId,
      payload: { rule: line, key_id: by.keyId },
    });
  }

  /** Notes a credential that did not hold. Whose it was is not known, so the entry belongs to no project. */
  noteCredential({ method, reason, keyId }: Refused, clientAddress: string, requestId: string): void {
    const prefix = addressPrefix(clientAddress);
    this.#count(prefix, reason, {
      actor: { kind: 'unknown', id: prefix },
      action: 'credential.refused',
      target: keyId ?? method,
      projectId: null,
      requestId,
      payload: { reason, method, client_address: clientAddress },
    });
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), flushEveryMs);
    this.#timer.unref();
  }

  /** Writes what is due, one flush after the other. Never rejects. */
  flush(): Promise<void> {
    this.#closeMinutes(groupMs);
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  /** Writes everything, minutes that have not ended included. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#closeMinutes(0);
    await this.flush();
  }

  #count(who: string, rule: string, entry: CountedEntry): void {
    const groups = this.#groups.get(entry.action) ?? new Map<string, Group>();
    this.#groups.set(entry.action, groups);
    const key = `${who}\0${rule}`;
    const known = groups.get(key);
    if (known) known.count++;
    else if (groups.size < refusalGroupsMax) {
      groups.set(key, { first: entry, rule, count: 0, since: this.#clock.now() });
      this.#queue.push(entry);
    } else this.#countAmongMany(groups, entry.action);
  }

  #countAmongMany(groups: Map<string, Group>, action: CountedAction): void {
    const known = groups.get('many');
    if (known) {
      known.count++;
      return;
    }
    const first = { actor: { kind: 'unknown', id: 'many' }, action, target: 'many', projectId: null } as const;
    groups.set('many', {
      first: { ...first, requestId: null, payload: {} },
      rule: 'many',
      count: 1,
      since: this.#clock.now(),
    });
  }

  /** Turns the counts of groups that are at least `ageMs` old into entries; a group that stayed quiet ends. */
  #closeMinutes(ageMs: number): void {
    const now = this.#clock.now();
    for (const groups of this.#groups.values()) {
      for (const [key, group] of groups) {
        const { first, rule, count, since } = group;
        if (now - since < ageMs) continue;
        if (count === 0) {
          groups.delete(key);
          continue;
        }
        this.#queue.push({ ...first, requestId: null, payload: { rule, count, from: since, until: now } });
        group.count = 0;
        group.since = now;
      }
    }
  }

  async #write(): Promise<void> {
    const entries = this.#queue;
    if (entries.length === 0) return;
    this.#queue = [];
    try {
      await inTransaction(this.#pool, async (tx) => {
        for (const entry of entries) await appendAudit(tx, entry);
      });
    } catch (error) {
      // What is newest gives way: while the database is away nothing is let in, and little can be new.
      this.#queue = [...entries, ...this.#queue].slice(0, 4 * refusalGroupsMax);
      this.#onError(error);
    }
  }
}
