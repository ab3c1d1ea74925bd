import type { KeyObject } from 'node:crypto';
import { appendAudit, type Actor } from '../../audit/append.ts';
import { keyLifetimeMinS, loginKeyS } from '../../base/limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import { checkNewKey } from '../key-input.ts';
import { auditPayload, issueKey } from '../key-issue.ts';
import { findPerson } from '../person-store.ts';
import { scopesOfRoles } from '../roles.ts';
import type { Scope } from '../scopes.ts';
import { loginKey, refreshCredential } from './credentials.ts';
import { denyConfirmed } from './device-store.ts';
import type { Issued, LoginRecord, StoredLogin } from './model.ts';
import { revokeLoginKeys, setKeyLogin, setLoginEnded, setLoginsEnded } from './store.ts';

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
  const leftS = Math.floor((login.expiresAt - Date.now()) / 1000);
  const checked = checkNewKey({
    projectId,
    name: `login of ${login.clientName}`,
    kind: 'operator',
    personId,
    scopes,
    lifetimeS: Math.max(keyLifetimeMinS, Math.min(loginKeyS, leftS)),
  });
  const by = { id: personId, personId, keyId: null };
  const issued = await issueKey(tx, version, pepper, checked, by, loginKey(key, login, generation));
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

/** How a login ends. */
export type Ending = 'logged_out' | 'ended' | 'reused' | 'no_longer_allowed' | 'key_revoked';

/** Ends a login and its keys, in the transaction that found out why. */
export async function endLogin(
  tx: Tx,
  version: bigint,
  id: string,
  { actor, requestId, how }: { readonly actor: Actor; readonly requestId: string; readonly how: Ending },
): Promise<LoginRecord | null> {
  const ended = await setLoginEnded(tx, id);
  if (!ended) return null;
  await revokeLoginKeys(tx, version, [id], []);
  await appendAudit(tx, {
    actor,
    action: 'login.ended',
    target: id,
    projectId: ended.projectId,
    requestId,
    payload: { how, of: ended.personId, client_name: ended.clientName },
  });
  return ended;
}

/** Ends all logins of a person with their keys, and what the person confirmed but nobody has fetched. @returns how many */
export async function endLoginsOfPerson(tx: Tx, version: bigint, personId: string): Promise<number> {
  await denyConfirmed(tx, personId);
  return endOldestLogins(tx, version, personId, 0);
}

/** Ends the logins of a person beyond the newest `kept`, and their keys. @returns how many */
export async function endOldestLogins(tx: Tx, version: bigint, personId: string, kept: number): Promise<number> {
  const ended = await setLoginsEnded(tx, personId, kept);
  if (ended.length > 0) await revokeLoginKeys(tx, version, ended, []);
  return ended.length;
}
