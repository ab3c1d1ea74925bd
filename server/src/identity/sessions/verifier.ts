import { createHmac, type KeyObject } from 'node:crypto';
import { PortcullisError } from '../../base/errors.ts';
import { isUnavailable } from '../../pg/errors.ts';
import type { Queryable } from '../../pg/tx.ts';
import { digestsEqual } from '../api-key.ts';
import type { Credential } from '../credential.ts';
import type { IdentityIndex } from '../identity-index.ts';
import type { Principal, RefusalReason } from '../model.ts';
import type { Refused, Verdict, Verifier } from '../verifier.ts';
import { findLiveSession, type LiveSession, recordSessionUse } from './store.ts';
import { sessionDigest } from './token.ts';

/** A key of the configuration with which one may sign in. */
export interface StaticKey {
  readonly tag: Buffer;
  readonly principal: Principal;
}

export interface SessionVerifierOptions {
  readonly db: Queryable;
  readonly key: KeyObject;
  readonly index: IdentityIndex;
  /** The control feed's: resolves when a read that began after the call is in memory. */
  readonly refresh: () => Promise<void>;
  /** ADMIN_API_KEY, where there is one. */
  readonly adminKey: StaticKey | null;
}

/** By what a session remembers the key of the configuration that it stands on. */
export function credentialTag(key: KeyObject, text: string): Buffer {
  return createHmac('sha256', key).update(`credential ${text}`).digest();
}

/**
 * Verifies sessions. The row is read anew each time: one that was ended holds on no replica from that moment. What its
 * principal may do comes from the person, or the key, as they stand now.
 */
export class SessionVerifier implements Verifier {
  readonly #options: SessionVerifierOptions;

  constructor(options: SessionVerifierOptions) {
    this.#options = options;
  }

  /** @throws PortcullisError unavailable when the database cannot be asked */
  async verify(credential: Credential, clientAddress: string): Promise<Verdict | null> {
    if (credential.kind !== 'session') return null;
    const digest = sessionDigest(this.#options.key, credential.text);
    if (!digest) return refused('session_ended');
    const session = await this.#find(digest);
    if (!session) return refused('session_ended');
    const found = await this.#principalOf(session, clientAddress);
    if (typeof found === 'string') return refused(found, session.keyId);
    // That of the configuration is shared, in a session too, and stays what it is.
    const method = found.method === 'static_key' ? found.method : 'session';
    return { principal: { ...found, method, sessionId: session.id } };
  }

  /** A cookie is never passed on. */
  isOurs(text: string): boolean {
    return sessionDigest(this.#options.key, text) !== null;
  }

  async #find(digest: Buffer): Promise<LiveSession | null> {
    const { db } = this.#options;
    try {
      const session = await findLiveSession(db, digest);
      if (session?.useIsDue) await recordSessionUse(db, session.id);
      return session;
    } catch (cause) {
      if (!isUnavailable(cause)) throw cause;
      throw new PortcullisError('unavailable', 'The session cannot be looked up now: try again shortly.', {
        retryAfterS: 1,
        cause,
      });
    }
  }

  async #principalOf(session: LiveSession, clientAddress: string): Promise<Principal | RefusalReason> {
    const { index, refresh, adminKey } = this.#options;
    const { credentialTag: tag, keyId, personId } = session;
    if (tag !== null) return adminKey && digestsEqual(adminKey.tag, tag) ? adminKey.principal : 'unknown_key';
    // Who signed in a moment ago, on another replica, may be new here.
    if (keyId !== null) {
      if (!index.hasKey(keyId)) await refresh();
      return index.holderOfKey(keyId, clientAddress);
    }
    if (personId !== null && !index.hasPerson(personId)) await refresh();
    return index.personInSession(personId ?? '');
  }
}

function refused(reason: RefusalReason, keyId: string | null = null): Refused {
  return { method: 'session', reason, keyId };
}
