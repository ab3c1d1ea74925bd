import { createHash, randomBytes } from 'node:crypto';
import { newId } from '../base/ids.ts';
import type { Tx } from '../pg/tx.ts';
import type { AuditAction } from './actions.ts';
import { canonicalJson, type JsonValue } from './canonical-json.ts';

/** Who did it: a principal, or the system itself. */
export interface Actor {
  readonly kind: 'operator' | 'agent' | 'service' | 'system' | 'unknown';
  readonly id: string;
}

export interface AuditEntry {
  readonly actor: Actor;
  readonly action: AuditAction;
  /** The id of what was acted on. */
  readonly target: string;
  readonly projectId: string | null;
  readonly requestId: string | null;
  /** Before, after, reasons. Never a secret. */
  readonly payload: { readonly [name: string]: JsonValue };
}

/** Entries that this process appended since it started, those of a transaction that was undone included; for the metrics. */
export const appended = new Map<AuditAction, number>();

/**
 * Appends an entry in the transaction of the change that it records: no change without an entry. The entry is not yet
 * numbered; the digest is over salt and canonical payload (RFC 8785), so that a payload can be erased later.
 */
export async function appendAudit(tx: Tx, entry: AuditEntry): Promise<void> {
  const salt = randomBytes(16);
  const payload = canonicalJson(entry.payload);
  const digest = createHash('sha256').update(salt).update(payload).digest();
  await tx.query(
    `INSERT INTO audit_entries (id, actor_kind, actor_id, action, target, project_id, request_id, payload_digest, salt, payload)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      newId('aud'),
      entry.actor.kind,
      entry.actor.id,
      entry.action,
      entry.target,
      entry.projectId,
      entry.requestId,
      digest,
      salt,
      payload,
    ],
  );
  appended.set(entry.action, (appended.get(entry.action) ?? 0) + 1);
}
