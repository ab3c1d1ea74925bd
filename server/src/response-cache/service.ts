import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import {
  cacheEntriesPerProjectMax,
  cachePerProjectBytesMax,
  cacheQuarantineMs,
  cacheQuarantinePerProjectMax,
  cachedAnswerBytesMax,
  purgeBatchMax,
} from '../base/limits.ts';
import type { WholeAnswer } from '../base/sealed-answer.ts';
import { type EntryFault, decodeEntry, encodeEntry } from './entry.ts';
import type { Queryable } from '../pg/tx.ts';
import {
  type Room,
  deleteEntries,
  deleteExpiredEntries,
  deleteOldQuarantine,
  findEntry,
  newestBeyond,
  projectsWithEntries,
  putEntry,
  quarantineEntry,
} from './store.ts';

export interface ResponseCacheOptions {
  readonly pool: Pool;
  /** Seals the answers; all replicas have the same one. */
  readonly key: KeyObject;
  /** Epoch milliseconds, by one clock for all replicas: the database's. */
  readonly now: () => number;
  /** Told of each damaged entry that was put aside. */
  readonly onQuarantined: (projectId: string, fault: EntryFault) => void;
}

export interface CachedAnswer {
  readonly answer: WholeAnswer;
  readonly ageMs: number;
}

/** Answers by the SHA-256 of all that they depend on, kept for a time in the database, apart for each project. */
export class ResponseCache {
  readonly #options: ResponseCacheOptions;

  constructor(options: ResponseCacheOptions) {
    this.#options = options;
  }

  /**
   * The answer kept for `key`, if it is younger than `ageMaxMs` and its own time is not over. A damaged entry is put aside,
   * and there is no answer.
   */
  async find(projectId: string, key: Buffer, ageMaxMs: number): Promise<CachedAnswer | null> {
    const { pool, key: sealKey, now, onQuarantined } = this.#options;
    const bytes = await findEntry(pool, projectId, key);
    if (bytes === null) return null;
    const at = now();
    const { fault, entry } = decodeEntry(sealKey, bytes, projectId, key);
    if (fault !== null) {
      const row = { projectId, key, entry: bytes };
      const moved = await quarantineEntry(pool, row, fault, new Date(at), cacheQuarantinePerProjectMax);
      if (moved) onQuarantined(projectId, fault);
      return null;
    }
    // Replicas' clocks differ a little: what was stored just now may seem to come.
    const ageMs = Math.max(0, at - entry.storedAt);
    return ageMs < ageMaxMs && at < entry.expiresAt ? { answer: entry.answer, ageMs } : null;
  }

  /** Keeps an answer. @returns false when it is too large to be kept */
  async keep(projectId: string, key: Buffer, answer: WholeAnswer, ttlMs: number): Promise<boolean> {
    if (answer.body.length > cachedAnswerBytesMax) return false;
    const { pool, key: sealKey, now } = this.#options;
    const storedAt = Math.floor(now());
    const head = { projectId, key, storedAt, expiresAt: storedAt + ttlMs };
    const entry = encodeEntry(sealKey, head, answer);
    await putEntry(pool, { ...head, entry, storedAt: new Date(storedAt), expiresAt: new Date(head.expiresAt) });
    return true;
  }

  /** Deletes what is older than it is kept for, and entries that take more room than a project has. */
  async purge(): Promise<void> {
    const { pool, now } = this.#options;
    const at = now();
    while ((await deleteExpiredEntries(pool, new Date(at), purgeBatchMax)) === purgeBatchMax);
    await makeRoom(pool, { entries: cacheEntriesPerProjectMax, bytes: cachePerProjectBytesMax }, purgeBatchMax);
    await deleteOldQuarantine(pool, new Date(at - cacheQuarantineMs));
  }
}

/**
 * Deletes the oldest entries of each project that has more than `room`, `batchMax` in a statement. Of entries that were
 * stored in one millisecond all go or none.
 */
export async function makeRoom(db: Queryable, room: Room, batchMax: number): Promise<void> {
  for (const projectId of await projectsWithEntries(db)) {
    const until = await newestBeyond(db, projectId, room);
    if (until === null) continue;
    while ((await deleteEntries(db, projectId, until, batchMax)) === batchMax);
  }
}
