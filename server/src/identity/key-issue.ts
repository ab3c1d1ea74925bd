import type { KeyObject } from 'node:crypto';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { apiKeysPerProjectMax } from '../base/limits.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import { formatApiKey, generateApiKey, hashSecret } from './api-key.ts';
import type { CheckedKey } from './key-input.ts';
import { countActiveKeys, findRunOwner, insertKey } from './key-store.ts';
import type { KeyRecord } from './records.ts';
import { requireActiveAgent, requireActivePerson, requireProject } from './references.ts';

/** A new key. Its text is never stored: whoever asked for it sees it now or never. */
export interface IssuedKey {
  readonly key: KeyRecord;
  readonly text: string;
}

/**
 * Makes a key for an owner that exists and may act.
 * @throws PortcullisError not_found, conflict (the owner is disabled, the run has ended, too many keys)
 */
export async function issueKey(
  tx: Tx,
  version: bigint,
  pepper: KeyObject,
  checked: CheckedKey,
  createdBy: string,
): Promise<IssuedKey> {
  const { projectId, agentId, personId, runId } = checked;
  await requireProject(tx, projectId);
  if (agentId !== null) await requireActiveAgent(tx, projectId, agentId);
  if (personId !== null) await requireActivePerson(tx, projectId, personId);
  if (runId !== null && (await findRunOwner(tx, projectId, runId)) !== agentId) {
    throw new PortcullisError('not_found', `This agent has no running run ${runId}.`);
  }
  await requireRoom(tx, projectId);
  const made = generateApiKey();
  const key = await insertKey(tx, version, {
    ...checked,
    id: made.id,
    secretHash: hashSecret(pepper, made.secret),
    createdBy,
  });
  return { key, text: formatApiKey(made) };
}

/** What the audit log says of a new key. */
export function auditPayload(key: KeyRecord): { readonly [name: string]: JsonValue } {
  return {
    name: key.name,
    kind: key.kind,
    agent_id: key.agentId,
    person_id: key.personId,
    scopes: key.scopes,
    models: key.models,
    cidrs: key.cidrs,
    run_id: key.runId,
    expires_at: key.expiresAt,
  };
}

// Control writes follow one another, so that the count holds until the insert.
async function requireRoom(db: Queryable, projectId: string): Promise<void> {
  if ((await countActiveKeys(db, projectId)) < apiKeysPerProjectMax) return;
  throw new PortcullisError(
    'conflict',
    `This project has ${apiKeysPerProjectMax} active keys, which is the limit: revoke some that are not used.`,
  );
}
