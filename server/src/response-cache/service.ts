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
import {
  deleteExpiredEntries,
  deleteOldQuarantine,
  evictEntries,
  findEntry,
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

  /** Keeps an answer; the oldest of the project make room. @returns false when it is too large to be kept */
  async keep(projectId: string, key: Buffer, answer: WholeAnswer, ttlMs: number): Promise<boolean> {
    if (answer.body.length > cachedAnswerBytesMax) return false;
    const { pool, key: sealKey, now } = this.#options;
    const storedAt = Math.floor(now());
    const head = { projectId, key, storedAt, expiresAt: storedAt + ttlMs };
    const entry = encodeEntry(sealKey, head, answer);
    await putEntry(pool, { ...head, entry, storedAt: new Date(storedAt), expiresAt: new Date(head.expiresAt) });
    await evictEntries(pool, projectId, { entries: cacheEntriesPerProjectMax, bytes: cachePerProjectBytesMax });
    return true;
  }

  /** Deletes what is older than it is kept for. */
  async purge(): Promise<void> {
    const { pool, now } = this.#options;
    const at = now();
    while ((await deleteExpiredEntries(pool, new Date(at), purgeBatchMax)) === purgeBatchMax);
    await deleteOldQuarantine(pool, new Date(at - cacheQuarantineMs));
  }
}
