import type { Pool } from 'pg';
import { leaseMs } from '../../base/limits.ts';
import { type Tx, inTransaction } from '../../pg/tx.ts';
import { type CounterKey, counterName, insertCounters } from '../store.ts';
import type { Flush } from './lease-book.ts';
import {
  type CounterChange,
  type LeasePosting,
  type LeaseRow,
  type LockedCounter,
  changeCounters,
  deleteLeases,
  insertLedgerRows,
  insertPostings,
  lockCounters,
  lockLeases,
  sumPostings,
  takeFlushNo,
  writeLeases,
} from './lease-store.ts';
import { type Resliced, resliceAll } from './reslice-all.ts';
import type { Slice } from './slice.ts';

/**
 * Commits a flush, once however often it is tried under its number; numbers rise.
 * @returns what is left of each slice; null where it was taken away
 */
export async function commitFlush(
  pool: Pool,
  instanceId: string,
  no: bigint,
  flush: Flush,
): Promise<ReadonlyMap<Slice, bigint | null>> {
  const slices = [...flush.reports.keys()];
  const epochs = slices.map(({ epoch }) => epoch);
  return inTransaction(pool, async (tx) => {
    const isNew = await takeFlushNo(tx, instanceId, no);
    const left = await lockLeases(tx, instanceId, epochs);
    if (!isNew) return new Map(slices.map((slice) => [slice, left.get(slice.epoch) ?? null]));
    const counters = await lockedCounters(tx, flush);
    const postings = await sumPostings(tx, instanceId, epochs);
    const changed = resliceAll(flush.reports, { left, counters, postings });
    await write(tx, instanceId, flush, changed);
    return new Map(changed.map(({ slice, change }) => [slice, change.granted]));
  });
}

async function write(
  tx: Tx,
  instanceId: string,
  { counted, rows }: Flush,
  changed: readonly Resliced<LockedCounter>[],
): Promise<void> {
  const changes: CounterChange[] = [
    ...changed.map(({ slice, change: { posted, held, leased } }) => ({ ...slice.key, posted, held, leased })),
    ...counted.map(({ key, amount }) => ({ ...key, posted: amount, held: 0n, leased: 0n })),
  ];
  const leases: LeaseRow[] = [];
  const ended: bigint[] = [];
  const postings: LeasePosting[] = [];
  for (const { slice, counter, change } of changed) {
    const { epoch, key } = slice;
    if (change.granted !== null && change.granted > 0n) leases.push({ ...key, epoch, granted: change.granted });
    else ended.push(epoch);
    if (change.takenBack > 0n)
      postings.push({ ...key, epoch, projectId: counter.projectId, amount: -change.takenBack });
  }
  if (changes.length > 0) await changeCounters(tx, changes);
  if (leases.length > 0) await writeLeases(tx, instanceId, leases, leaseMs);
  if (ended.length > 0) await deleteLeases(tx, instanceId, ended);
  if (postings.length > 0) await insertPostings(tx, instanceId, postings);
  if (rows.length > 0) await insertLedgerRows(tx, rows);
}

async function lockedCounters(tx: Tx, { reports, counted }: Flush): Promise<Map<string, LockedCounter>> {
  const keys = new Map<string, CounterKey>();
  for (const { key } of [...reports.keys(), ...counted]) keys.set(counterName(key), key);
  if (keys.size === 0) return new Map();
  await insertCounters(tx, [...keys.values()]);
  const counters = await lockCounters(tx, [...keys.values()]);
  return new Map(counters.map((counter) => [counterName(counter), counter]));
}
