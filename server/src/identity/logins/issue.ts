import type { KeyObject } from 'node:crypto';
import { appendAudit, type Actor } from '../../audit/append.ts';
import { auditedAgentKeysMax, loginKeyS } from '../../base/limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import { formatApiKey } from '../api-key.ts';
import { checkNewKey } from '../key-input.ts';
import { auditPayload, issueKey } from '../key-issue.ts';
import { findKey } from '../key-store.ts';
import { findPerson } from '../person-store.ts';
import { scopesOfRoles } from '../roles.ts';
import type { Scope } from '../scopes.ts';
import { loginKey, refreshCredential } from './credentials.ts';
import { denyConfirmed } from './device-store.ts';
import type { Issued, LoginRecord, StoredLogin } from './model.ts';
import { agentKeysMadeBy, isKeyUsed, oldestLogins, revokeKeysMadeBy, setKeyLogin, setLoginEnded } from './store.ts';

/** The secrets of the server that keys of logins take. */
export interface LoginSecrets {
  readonly pepper: KeyObject;
  /** What credentials of logins follow from. */
  readonly key: KeyObject;
}

/** What a person may do now; null when they may do nothing any more. */
export async function scopesOfPerson(db: Queryable, projectId: string, personId: string): Promise<Set<Scope> | null> {
  const person = await findPerson(db, projectId, personId);
  if (person?.state !== 'active' || !person.roles?.length) return null;
  return scopesOfRoles(person.roles);
}

/** Issues the key of a generation of a login, that ends with it at the latest. @throws PortcullisError conflict (too many keys) */
export async function issueLoginKey(
  tx: Tx,
  version: bigint,
  { pepper, key }: LoginSecrets,
  login: StoredLogin,
  scopes: readonly Scope[],
  requestId: string,
): Promise<Issued> {
  const { id, generation, projectId, personId } = login;
  const checked = checkNewKey({
    projectId,
    name: `login of ${login.clientName}`,
    kind: 'operator',
    personId,
    scopes,
    lifetimeS: loginKeyS,
  });
  const by = { id: personId, personId, keyId: null };
  const issued = await issueKey(
    tx,
    version,
    pepper,
    { ...checked, endsAt: login.expiresAt },
    by,
    loginKey(key, login, generation),
  );
  await setKeyLogin(tx, issued.key.id, id);
  await appendAudit(tx, {
    actor: { kind: 'operator', id: personId },
    action: 'token.issued',
    target: issued.key.id,
    projectId,
    requestId,
    payload: { ...auditPayload(issued.key), login_id: id },
  });
  return { ...issued, refreshCredential: refreshCredential(key, login, generation) };
}

/** Whether the key of the current generation was used: whoever asked for it has it. */
export async function isCurrentKeyUsed(db: Queryable, { key }: LoginSecrets, login: StoredLogin): Promise<boolean> {
  return isKeyUsed(db, loginKey(key, login, login.generation).id);
}

/** What the current generation has already. Null when its key was revoked. */
export async function issuedAlready(db: Queryable, { key }: LoginSecrets, login: StoredLogin): Promise<Issued | null> {
  const made = loginKey(key, login, login.generation);
  const found = await findKey(db, login.projectId, made.id);
  if (!found || found.revokedAt !== null) return null;
  return {
    key: found,
    text: formatApiKey(made),
    refreshCredential: refreshCredential(key, login, login.generation),
  };
}

/** How a login ends. */
export type Ending = 'logged_out' | 'ended' | 'reused' | 'no_longer_allowed' | 'key_revoked' | 'too_many';

/** Why and through whom a login ends. */
interface EndingOf {
  readonly actor: Actor;
  readonly requestId: string;
  readonly how: Ending;
}

/** Ends a login, its keys and what they made but keys of agents, which are named in the audit log, in the transaction that found out why. */
export async function endLogin(
  tx: Tx,
  version: bigint,
  id: string,
  { actor, requestId, how }: EndingOf,
): Promise<LoginRecord | null> {
  const ended = await endUnsaid(tx, version, id);
  if (!ended) return null;
  await appendAudit(tx, {
    actor,
    action: 'login.ended',
    target: id,
    projectId: ended.projectId,
    requestId,
    payload: {
      how,
      of: ended.personId,
      client_name: ended.clientName,
      agent_keys: await agentKeysMadeBy(tx, id, auditedAgentKeysMax),
    },
  });
  return ended;
}

/** Ends all logins of a person with their keys, and what the person confirmed but nobody has fetched. @returns how many */
export async function endLoginsOfPerson(tx: Tx, version: bigint, personId: string): Promise<number> {
  await denyConfirmed(tx, personId);
  const ids = await oldestLogins(tx, personId, 0);
  for (const id of ids) await endUnsaid(tx, version, id);
  return ids.length;
}

/** Ends the logins of a person beyond the newest `kept`. */
export async function endOldestLogins(
  tx: Tx,
  version: bigint,
  personId: string,
  kept: number,
  requestId: string,
): Promise<void> {
  const ending = { actor: { kind: 'operator', id: personId }, requestId, how: 'too_many' } as const;
  for (const id of await oldestLogins(tx, personId, kept)) await endLogin(tx, version, id, ending);
}

async function endUnsaid(tx: Tx, version: bigint, id: string): Promise<LoginRecord | null> {
  const ended = await setLoginEnded(tx, id);
  if (ended) await revokeKeysMadeBy(tx, version, id);
  return ended;
}
