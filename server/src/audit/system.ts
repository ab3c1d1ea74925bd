import type { Pool } from 'pg';
import { inTransaction } from '../pg/tx.ts';
import type { AuditAction } from './actions.ts';
import { type AuditEntry, appendAudit } from './append.ts';

/** Appends an entry of what the system itself did, in a transaction of its own. */
export async function auditSystem(
  pool: Pool,
  action: AuditAction,
  target: string,
  payload: AuditEntry['payload'],
): Promise<void> {
  const actor = { kind: 'system', id: 'server' } as const;
  await inTransaction(pool, (tx) =>
    appendAudit(tx, { actor, action, target, projectId: null, requestId: null, payload }),
  );
}
