import { emitEvent } from '../outbox/emit.ts';
import type { Tx } from '../pg/tx.ts';
import type { StoredKillSwitch } from './kill-store.ts';

/** Tells endpoints that something is stopped; a stop of everything concerns all projects. */
export function emitEngaged(tx: Tx, kill: StoredKillSwitch): Promise<void> {
  const expires_at = kill.expiresAt === null ? null : new Date(kill.expiresAt).toISOString();
  const data = { ...dataOf(kill), engaged_by: kill.engagedBy, expires_at };
  return emitEvent(tx, { type: 'kill.engaged', projectId: kill.projectId, key: kill.id, data });
}

/** Tells them that it is not stopped any more. */
export function emitReleased(tx: Tx, kill: StoredKillSwitch, releasedBy: string): Promise<void> {
  const data = { ...dataOf(kill), released_by: releasedBy };
  return emitEvent(tx, { type: 'kill.released', projectId: kill.projectId, key: kill.id, data });
}

function dataOf({ id, scope, value, reason }: StoredKillSwitch) {
  return { kill_switch_id: id, scope, value, reason };
}
