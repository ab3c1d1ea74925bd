import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { inTransaction } from '../../pg/tx.ts';
import { digestInForce, type Approval } from '../model.ts';
import { noteView } from './store.ts';

/** Somebody who looks at a request. */
export interface Look {
  readonly personId: string;
  readonly via: 'session' | 'link';
  /** The link by which they came. */
  readonly linkId: string | null;
  readonly address: string;
  readonly requestId: string;
}

/** Tells the audit log who looks, how and from where; the same again within an hour is no news, and what is told is bounded. */
export async function tellLook(pool: Pool, approval: Approval, look: Look): Promise<void> {
  const { personId, via, linkId, address, requestId } = look;
  await inTransaction(pool, async (tx) => {
    if (!(await noteView(tx, { approvalId: approval.id, personId, via, address }))) return;
    await appendAudit(tx, {
      actor: { kind: 'operator', id: personId },
      action: 'approval.viewed',
      target: approval.id,
      projectId: approval.projectId,
      requestId,
      payload: { via, link_id: linkId, client_address: address, digest: digestInForce(approval).toString('hex') },
    });
  });
}
