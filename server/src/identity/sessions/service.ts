import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { purgeBatchMax, sessionsPerPrincipalMax, userAgentCharsMax } from '../../base/limits.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import { personWhoCalls } from '../in-person.ts';
import type { Principal } from '../model.ts';
import { type Page, type PageRequest, readPage } from '../page.ts';
import { permits } from '../permission.ts';
import { lockPerson } from '../person-store.ts';
import { auditSessionEnd, type Ending, endSessionsOf } from './ending.ts';
import type { SessionRecord, SignedIn } from './model.ts';
import { endSession, findLiveSession, findSession, insertSession, purgeSessions, selectSessions } from './store.ts';
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
   * @throws PortcullisError policy_denied where the person was disabled or unlinked since they were asked about
   */
  async start(signedIn: SignedIn, visit: Visit): Promise<string> {
    const { principal, method } = signedIn;
    // By itself: whoever waits for the sessions of one principal holds none of another's.
    if (visit.token !== null) await this.#endByToken(visit.token, visit.requestId, 'replaced');
    const token = newSessionToken(this.#key);
    const address = visit.clientAddress;
    const userAgent = visit.userAgent.replace(/\p{C}/gu, '').slice(0, userAgentCharsMax);
    const actor = { kind: principal.kind, id: principal.id };
    await inTransaction(this.#pool, async (tx) => {
      await requireStill(tx, signedIn);
      const ending = { actor, requestId: visit.requestId, how: 'too_many' } as const;
      await endSessionsOf(tx, principal.id, sessionsPerPrincipalMax - 1, ending);
      const id = newId('ses');
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
      await appendAudit(tx, {
        actor,
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
    await this.#endByToken(token, requestId, 'signed_out');
  }

  /**
   * Ends a session on every replica, now. People may end their own, and a key those that stand on it; others' take `admin`,
   * and are else not there.
   * @throws PortcullisError not_found (an ended one too)
   */
  async end(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
  ): Promise<SessionRecord> {
    return inTransaction(this.#pool, async (tx) => {
      const session = await findSession(tx, projectId, id);
      if (!session || !(permits(by, 'admin') || (await isOwn(tx, by, session)))) {
        throw new PortcullisError('not_found', `There is no session ${id.slice(0, 100)} in this project that lasts.`);
      }
      await end(tx, session, { actor: { kind: by.kind, id: by.id }, requestId, how: 'ended' });
      return session;
    });
  }

  /**
   * Sessions that last, newest first: with `admin:read` everybody's, else the person's who calls themselves, or those on the
   * very key that calls.
   * @param ownOnly no others in any case
   * @throws PortcullisError invalid_argument
   */
  async list(by: Principal, projectId: string, ownOnly: boolean, page: PageRequest): Promise<Page<SessionRecord>> {
    const { id: principalId, keyId } = by;
    const whose =
      ownOnly || !permits(by, 'admin:read')
        ? { principalId, keyId, isPerson: (await personWhoCalls(this.#pool, by)) !== null }
        : null;
    return readPage(page, (beforeId, limit) => selectSessions(this.#pool, { projectId, whose }, beforeId, limit));
  }

  /** Deletes what has been over for a while. */
  async purge(): Promise<void> {
    while ((await purgeSessions(this.#pool, purgeBatchMax)) === purgeBatchMax);
  }

  async #endByToken(token: string, requestId: string, how: 'replaced' | 'signed_out'): Promise<void> {
    const digest = sessionDigest(this.#key, token);
    if (!digest) return;
    await inTransaction(this.#pool, async (tx) => {
      const session = await findLiveSession(tx, digest);
      if (session) await end(tx, session, { actor: { kind: 'operator', id: session.principalId }, requestId, how });
    });
  }
}

/** What was found out of a person may have changed since. @throws PortcullisError policy_denied */
async function requireStill(tx: Tx, signedIn: SignedIn): Promise<void> {
  const { personId } = signedIn.principal;
  if (personId === null) return;
  const person = await lockPerson(tx, personId);
  const isSame =
    signedIn.method === 'key' || (person?.issuer === signedIn.issuer && person.subject === signedIn.subject);
  if (person?.state === 'active' && isSame) return;
  throw new PortcullisError('policy_denied', 'Your account here was disabled or unlinked just now: sign in again.', {
    rule: 'sign_in.person',
  });
}

async function isOwn(tx: Tx, by: Principal, { principalId, keyId }: SessionRecord): Promise<boolean> {
  return principalId === by.id && (keyId === by.keyId || (await personWhoCalls(tx, by)) !== null);
}

async function end(tx: Tx, session: SessionRecord, ending: Ending): Promise<void> {
  if (await endSession(tx, session.id)) await auditSessionEnd(tx, session, ending);
}

function digestOf(key: KeyObject, token: string): Buffer {
  const digest = sessionDigest(key, token);
  if (!digest) throw new Error('a new token is not ours');
  return digest;
}
