import type { AuditAction } from '../../audit/actions.ts';
import { appendAudit } from '../../audit/append.ts';
import type { JsonValue } from '../../audit/canonical-json.ts';
import type { Principal } from '../../identity/model.ts';
import type { Tx } from '../../pg/tx.ts';
import { hostOf } from './endpoint-model.ts';

/** Who asks for a change, from where, and in which project. */
export interface By {
  readonly by: Principal;
  readonly requestId: string;
  readonly projectId: string;
  /** The client's address; null where nobody knows it. */
  readonly address: string | null;
}

/** Writes down who did what to an endpoint, from where. Of its URL the host is kept: the rest may be a secret. */
export function auditEndpoint(
  tx: Tx,
  { by, requestId, projectId, address }: By,
  action: Extract<AuditAction, `webhook${string}`>,
  { id, url }: { readonly id: string; readonly url: string },
  more: Readonly<Record<string, JsonValue>>,
): Promise<void> {
  const actor = { kind: by.kind, id: by.id };
  return appendAudit(tx, {
    actor,
    action,
    target: id,
    projectId,
    requestId,
    payload: { address, host: hostOf(url), ...more },
  });
}
