import { type Actor, appendAudit } from '../../audit/append.ts';
import type { Tx } from '../../pg/tx.ts';
import type { SessionRecord } from './model.ts';
import { endOldestSessions, lockSessionsOf } from './store.ts';

/** How a session ends, but for time. */
export interface Ending {
  readonly actor: Actor;
  readonly requestId: string;
  readonly how: 'replaced' | 'signed_out' | 'ended' | 'too_many' | 'no_role' | 'person_disabled' | 'unlinked';
}

/** Ends the sessions of a principal beyond the newest `kept`, in the transaction that found out why. @returns how many */
export async function endSessionsOf(tx: Tx, principalId: string, kept: number, ending: Ending): Promise<number> {
  await lockSessionsOf(tx, principalId);
  const ended = await endOldestSessions(tx, principalId, kept);
  for (const session of ended) await auditSessionEnd(tx, session, ending);
  return ended.length;
}

export async function auditSessionEnd(
  tx: Tx,
  { id, projectId, principalId }: SessionRecord,
  { actor, requestId, how }: Ending,
): Promise<void> {
  await appendAudit(tx, {
    actor,
    action: 'session.ended',
    target: id,
    projectId,
    requestId,
    payload: { how, of: principalId },
  });
}
