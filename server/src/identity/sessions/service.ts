import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { purgeBatchMax, sessionsPerPrincipalMax, userAgentCharsMax } from '../../base/limits.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import type { Principal } from '../model.ts';
import { type Page, type PageRequest, readPage } from '../page.ts';
import { permits } from '../permission.ts';
import type { SessionRecord, SignedIn } from './model.ts';
import {
  endOldestSessions,
  endSession,
  findLiveSession,
  findSession,
  insertSession,
  purgeSessions,
  selectSessions,
} from './store.ts';
import { newSessionToken, sessionDigest } from './token.ts';

/** From where somebody signs in. */
export interface Visit {
  readonly requestId: string;
  readonly clientAddress: string;
  readonly userAgent: string;
  /** What the browser's cookie holds now. */
  readonly token: string | null;
}

/** Sessions of people at a browser: begun, listed, ended. Whether one holds is for the verifier. */
export class SessionService {
  readonly #pool: Pool;
  readonly #key: KeyObject;

  /** @param key the same on every replica; with another one all sessions end */
  constructor(pool: Pool, key: KeyObject) {
    this.#pool = pool;
    this.#key = key;
  }

  /**
   * Begins a session under a new token, whatever the browser had before: one that was planted there is worth nothing.
   * @returns the token, which is stored nowhere
   */
  async start(signedIn: SignedIn, visit: Visit): Promise<string> {
    const { principal, method } = signedIn;
    const token = newSessionToken(this.#key);
    const id = newId('ses');
    const address = visit.clientAddress;
    const userAgent = visit.userAgent.replace(/\p{C}/gu, '').slice(0, userAgentCharsMax);
    await inTransaction(this.#pool, async (tx) => {
      if (visit.token !== null) await this.#endByToken(tx, visit.token, visit.requestId, 'replaced');
      await insertSession(tx, {
        id,
        digest: digestOf(this.#key, token),
        projectId: principal.projectId,
        principalId: principal.id,
        personId: principal.personId,
        method,
        keyId: method === 'key' ? principal.keyId : null,
        credentialTag: method === 'key' ? signedIn.tag : null,
        address,
        userAgent,
      });
      await endOldestSessions(tx, principal.id, sessionsPerPrincipalMax);
      await appendAudit(tx, {
        actor: { kind: principal.kind, id: principal.id },
        action: 'session.started',
        target: id,
        projectId: principal.projectId,
        requestId: visit.requestId,
        payload: { method, key_id: principal.keyId, client_address: address, user_agent: userAgent },
      });
    });
    return token;
  }

  /** Signs out: the session that the browser's cookie names ends, if there is one. */
  async signOut(token: string, requestId: string): Promise<void> {
    await inTransaction(this.#pool, (tx) => this.#endByToken(tx, token, requestId, 'signed_out'));
  }

  /**
   * Ends a session on every replica, now. Everybody may end their own; others' take `admin`, and are else not there.
   * @throws PortcullisError not_found (an ended one too)
   */
  async end(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
  ): Promise<SessionRecord> {
    return inTransaction(this.#pool, async (tx) => {
      const session = await findSession(tx, projectId, id);
      if (!session || (session.principalId !== by.id && !permits(by, 'admin'))) {
        throw new PortcullisError('not_found', `There is no session ${id.slice(0, 100)} in this project that lasts.`);
      }
      await this.#end(tx, session, { kind: by.kind, id: by.id }, requestId, 'ended');
      return session;
    });
  }

  /**
   * Sessions that last, newest first: the caller's own, or with `admin:read` everybody's.
   * @param ownOnly the caller's own in any case
   * @throws PortcullisError invalid_argument
   */
  list(by: Principal, projectId: string, ownOnly: boolean, page: PageRequest): Promise<Page<SessionRecord>> {
    const principalId = ownOnly || !permits(by, 'admin:read') ? by.id : null;
    return readPage(page, (beforeId, limit) => selectSessions(this.#pool, { projectId, principalId }, beforeId, limit));
  }

  /** Deletes what ended long ago. */
  async purge(): Promise<void> {
    while ((await purgeSessions(this.#pool, purgeBatchMax)) === purgeBatchMax);
  }

  async #endByToken(tx: Tx, token: string, requestId: string, how: 'replaced' | 'signed_out'): Promise<void> {
    const digest = sessionDigest(this.#key, token);
    const session = digest && (await findLiveSession(tx, digest));
    if (session) await this.#end(tx, session, { kind: 'operator', id: session.principalId }, requestId, how);
  }

  async #end(
    tx: Tx,
    { id, projectId, principalId }: SessionRecord,
    actor: Pick<Principal, 'kind' | 'id'>,
    requestId: string,
    how: 'replaced' | 'signed_out' | 'ended',
  ): Promise<void> {
    if (!(await endSession(tx, id))) return;
    await appendAudit(tx, {
      actor,
      action: 'session.ended',
      target: id,
      projectId,
      requestId,
      payload: { how, of: principalId },
    });
  }
}

function digestOf(key: KeyObject, token: string): Buffer {
  const digest = sessionDigest(key, token);
  if (!digest) throw new Error('a new token is not ours');
  return digest;
}
