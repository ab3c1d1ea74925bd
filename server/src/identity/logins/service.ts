import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import { loginKeyOverlapS } from '../../base/limits.ts';
import { controlWrite, type Tx } from '../../pg/tx.ts';
import { findKey, setKeySuccessor } from '../key-store.ts';
import type { Principal } from '../model.ts';
import { type Page, type PageRequest, readPage } from '../page.ts';
import { permits } from '../permission.ts';
import { grants, isScope, type Scope } from '../scopes.ts';
import { isOfLogin, loginKey, type PresentedRefresh, readRefreshCredential } from './credentials.ts';
import { grantedScopes } from './granted-scopes.ts';
import {
  type Ending,
  endLogin,
  isCurrentKeyUsed,
  issuedAlready,
  issueLoginKey,
  type LoginSecrets,
  scopesOfPerson,
} from './issue.ts';
import { type Granted, type LoginRecord, refuse, type StoredLogin } from './model.ts';
import { judgeRefresh } from './rules.ts';
import { advanceLogin, findLogin, lockLogin, revokeLoginKeys, selectLogins } from './store.ts';

const noLogin = refuse('invalid_grant', 'This refresh credential does not hold: log in again.');
const wider = refuse('invalid_scope', 'This login does not have all of these scopes.');

/** A credential of a login that lasts, with what of the login never changes, or only grows. */
interface Recognised extends PresentedRefresh {
  readonly scopes: readonly Scope[];
  /** Of a generation that the login has not reached. */
  readonly isUnknown: boolean;
}

/** Logins of the command line, after a person confirmed them: refreshed, listed, ended. */
export class LoginService {
  readonly #pool: Pool;
  readonly #secrets: LoginSecrets;

  constructor(pool: Pool, secrets: LoginSecrets) {
    this.#pool = pool;
    this.#secrets = secrets;
  }

  /**
   * A new key and refresh credential for a refresh credential (RFC 6749, section 6; RFC 9700, section 4.14). Who comes with
   * the same one within ten seconds, or within a minute and before the new key or credential was used, gets the same; later,
   * it was stolen, and the login ends.
   * @param asked fewer scopes than the login has; null: all of them
   * @param onRecognised told once the credential is known to be of a login, before anything is written; may throw
   * @throws PortcullisError conflict (the project has too many keys)
   */
  async refresh(
    credential: string,
    asked: readonly Scope[] | null,
    requestId: string,
    onRecognised: (loginId: string) => void,
  ): Promise<Granted> {
    const presented = await this.#recognise(credential);
    if (!presented) return noLogin;
    onRecognised(presented.loginId);
    if (presented.isUnknown) return noLogin;
    if (lacks(presented.scopes, asked)) return wider;
    const { result } = await controlWrite(this.#pool, async (tx, version): Promise<Granted> => {
      const login = await lockLogin(tx, presented.loginId);
      if (!login) return noLogin;
      const isUsed = await isCurrentKeyUsed(tx, this.#secrets, login);
      const meaning = judgeRefresh(presented.generation, { ...login, isUsed });
      if (meaning === 'current') return this.#advance(tx, version, login, asked, requestId);
      if (meaning === 'again') return this.#repeat(tx, login, asked);
      return meaning === 'reused' ? this.#end(tx, version, login, requestId, 'reused') : noLogin;
    });
    return result;
  }

  /** Logs out: the login whose refresh credential it is or was ends; anything else is nothing (RFC 7009, section 2.2). */
  async logOut(credential: string, requestId: string): Promise<void> {
    const presented = await this.#recognise(credential);
    if (!presented) return;
    await controlWrite(this.#pool, async (tx, version) => {
      const login = await lockLogin(tx, presented.loginId);
      if (login) await this.#end(tx, version, login, requestId, 'logged_out');
    });
  }

  /**
   * Ends a login and its keys on every replica. Everybody may end their own; others' take `admin`, and are else not there.
   * @throws PortcullisError not_found (an ended one too)
   */
  async end(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: LoginRecord; version: bigint }> {
    const missing = () =>
      new PortcullisError('not_found', `There is no login ${id.slice(0, 100)} in this project that lasts.`);
    const found = await findLogin(this.#pool, id);
    const isOwn = found !== null && by.kind === 'operator' && found.personId === by.personId;
    if (found?.projectId !== projectId || !(isOwn || permits(by, 'admin'))) throw missing();
    return controlWrite(this.#pool, async (tx, version) => {
      const login = await lockLogin(tx, id);
      if (!login) throw missing();
      await endLogin(tx, version, id, { actor: { kind: by.kind, id: by.id }, requestId, how: 'ended' });
      return login;
    });
  }

  /**
   * Logins that last, newest first: the caller's own, or with `admin:read` everybody's.
   * @param ownOnly the caller's own in any case
   * @throws PortcullisError invalid_argument
   */
  list(by: Principal, projectId: string, ownOnly: boolean, page: PageRequest): Promise<Page<LoginRecord>> {
    const own = by.kind === 'operator' ? (by.personId ?? '') : '';
    const personId = ownOnly || !permits(by, 'admin:read') ? own : null;
    return readPage(page, (beforeId, limit) => selectLogins(this.#pool, { projectId, personId }, beforeId, limit));
  }

  /** What is, or once was, a refresh credential of a login that lasts. Looked up before anything is locked: guesses cost a read. */
  async #recognise(credential: string): Promise<Recognised | null> {
    const presented = readRefreshCredential(credential);
    const login = presented && (await findLogin(this.#pool, presented.loginId));
    if (!login || !isOfLogin(this.#secrets.key, login, presented)) return null;
    return { ...presented, scopes: login.scopes, isUnknown: presented.generation > login.generation };
  }

  async #advance(
    tx: Tx,
    version: bigint,
    login: StoredLogin,
    asked: readonly Scope[] | null,
    requestId: string,
  ): Promise<Granted> {
    const held = await scopesOfPerson(tx, login.projectId, login.personId);
    if (!held) return this.#end(tx, version, login, requestId, 'no_longer_allowed');
    const oldId = loginKey(this.#secrets.key, login, login.generation).id;
    const old = await findKey(tx, login.projectId, oldId);
    // Whoever revoked it meant the one who has it.
    if (!old || old.revokedAt !== null) return this.#end(tx, version, login, requestId, 'key_revoked');
    const next = { ...login, generation: login.generation + 1 };
    const scopes = grantedScopes(asked ?? login.scopes, held);
    // First, so that a login takes no more room among the keys of its project while it is refreshed.
    await revokeLoginKeys(tx, version, login.id, oldId);
    const issued = await issueLoginKey(tx, version, this.#secrets, next, scopes, requestId);
    await setKeySuccessor(tx, version, oldId, issued.key.id, loginKeyOverlapS);
    await advanceLogin(tx, login.id, next.generation);
    return { issued };
  }

  /** What the current generation has already. */
  async #repeat(tx: Tx, login: StoredLogin, asked: readonly Scope[] | null): Promise<Granted> {
    const issued = await issuedAlready(tx, this.#secrets, login);
    if (!issued) return noLogin;
    // Who asked for less gets no more than that.
    if (asked && issued.key.scopes.some((scope) => !isScope(scope) || !grants(new Set(asked), scope))) return wider;
    return { issued };
  }

  async #end(tx: Tx, version: bigint, login: LoginRecord, requestId: string, how: Ending): Promise<Granted> {
    const actor = { kind: how === 'reused' ? 'unknown' : 'operator', id: login.personId } as const;
    await endLogin(tx, version, login.id, { actor, requestId, how });
    return noLogin;
  }
}

function lacks(held: readonly Scope[], asked: readonly Scope[] | null): boolean {
  return asked?.some((scope) => !grants(new Set(held), scope)) ?? false;
}
