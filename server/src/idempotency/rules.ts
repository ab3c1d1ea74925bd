import type { KeyRecord, Standing } from './model.ts';

/** What a second request with a key gets; `now` is epoch milliseconds. Nothing here ever leads to a second run. */
export function standingOf(record: Omit<KeyRecord, 'version'>, fingerprint: Buffer, now: number): Standing {
  // First of all: another request learns nothing of how the first one went.
  if (!record.fingerprint.equals(fingerprint)) return 'mismatch';
  if (record.finishedAt !== null) return record.answer === null ? 'not_kept' : 'replay';
  return now < record.leaseUntil ? 'in_progress' : 'unknown';
}
