import { PortcullisError } from '../base/errors.ts';
import { journalBytesPerDayMax, journalWritesPerDayMax } from '../base/telemetry-limits.ts';
import type { Principal } from '../identity/model.ts';
import type { Tx } from '../pg/tx.ts';
import { countWrite, dayLeftS } from './quota-store.ts';

/**
 * Takes of what the caller may write into the project's journal today. Each caller has a measure of its own, so that an agent
 * that writes too much keeps nobody else from writing.
 * @param texts what is written
 * @throws PortcullisError rate_limited
 */
export async function takeRoom(tx: Tx, by: Principal, projectId: string, texts: readonly string[]): Promise<void> {
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const max = { writes: journalWritesPerDayMax, bytes: journalBytesPerDayMax };
  if (await countWrite(tx, projectId, by.id, bytes, max)) return;
  throw new PortcullisError(
    'rate_limited',
    `You write ${max.writes} times and ${max.bytes / 2 ** 20} MiB a day (UTC) at most into the journal of a project: go on tomorrow.`,
    { rule: 'journal.day', retryAfterS: await dayLeftS(tx) },
  );
}
