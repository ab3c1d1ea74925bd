import type { KeyObject } from 'node:crypto';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { apiKeysPerProjectMax } from '../base/limits.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import { type ApiKey, formatApiKey, generateApiKey, hashSecret } from './api-key.ts';
import type { CheckedKey } from './key-input.ts';
import { countActiveKeys, findRunOwner, insertKey } from './key-store.ts';
import type { Principal } from './model.ts';
import type { KeyRecord } from './records.ts';
import { requireActiveAgent, requireActivePerson, requireProject } from './references.ts';

/** A new key. Its text is never stored: whoever asked for it sees it now or never. */
export interface IssuedKey {
  readonly key: KeyRecord;
  readonly text: string;
}

/**
 * Makes a key for an owner that exists and may act.
 * @param made the secret of the key; a random one unless somebody must be able to make it again
 * @throws PortcullisError not_found, conflict (the owner is disabled, the run has ended, too many keys)
 */
export async function issueKey(
  tx: Tx,
  version: bigint,
  pepper: KeyObject,
  checked: CheckedKey,
  by: Pick<Principal, 'id' | 'personId' | 'keyId'>,
  made: ApiKey = generateApiKey(),
): Promise<IssuedKey> {
  const { projectId, agentId, personId, runId } = checked;
  await requireProject(tx, projectId);
  if (agentId !== null) await requireActiveAgent(tx, projectId, agentId);
  // Who makes it may be of another project; once disabled, a key that they answer for does not hold anyway.
  if (personId !== null && personId !== by.personId) await requireActivePerson(tx, projectId, personId);
  if (runId !== null && (await findRunOwner(tx, projectId, runId)) !== agentId) {
    throw new PortcullisError('not_found', `This agent has no running run ${runId}.`);
  }
  await requireRoom(tx, projectId);
  const key = await insertKey(tx, version, {
    ...checked,
    id: made.id,
    secretHash: hashSecret(pepper, made.secret),
    createdBy: by.id,
    madeWithKeyId: by.keyId,
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
    require_signature: key.requireSignature,
    binding: key.binding === null ? null : { by: key.binding.by, value: key.binding.value },
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
