import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { clientNameCharsMax, loginsPerPersonMax, purgeBatchMax } from '../../base/limits.ts';
import { addressPrefix, addressSite } from '../../net/client-address.ts';
import { violates } from '../../pg/errors.ts';
import { controlWrite, inTransaction } from '../../pg/tx.ts';
import { checkLine } from '../input.ts';
import type { Principal } from '../model.ts';
import type { Scope } from '../scopes.ts';
import { deviceCodeDigest, newDeviceCode, userCodeDigest } from './credentials.ts';
import {
  decideDeviceCode,
  findWaiting,
  insertDeviceCode,
  pollDeviceCode,
  purgeDeviceCodes,
  redeemDeviceCode,
} from './device-store.ts';
import {
  endLogin,
  endOldestLogins,
  isCurrentKeyUsed,
  issuedAlready,
  issueLoginKey,
  type LoginSecrets,
  scopesOfPerson,
} from './issue.ts';
import { type DeviceRequest, type Granted, refuse } from './model.ts';
import { grantedScopes } from './granted-scopes.ts';
import { judgeRefresh } from './rules.ts';
import { findLogin, insertLogin, lockLogin } from './store.ts';
import { newUserCode, readUserCode } from './user-code.ts';

/** What a command line asks for. */
export interface NewDeviceRequest {
  readonly clientName: string;
  readonly address: string;
  /** Null: everything that the person has but `admin`. */
  readonly scopes: readonly Scope[] | null;
}

/** A request that waits for a person, and the code under which it does. */
export interface WaitingRequest extends DeviceRequest {
  readonly userCode: string;
}

const wrongCode = refuse('invalid_grant', 'This device code is not one of ours, or was used.');
const deniedByPerson = refuse('access_denied', 'The person did not confirm this login.');

/** Logins that a person confirms at a browser (RFC 8628). */
export class DeviceLogins {
  readonly #pool: Pool;
  readonly #secrets: LoginSecrets;

  constructor(pool: Pool, secrets: LoginSecrets) {
    this.#pool = pool;
    this.#secrets = secrets;
  }

  /** @throws PortcullisError invalid_argument (the name), rate_limited (too many wait) */
  async ask(request: NewDeviceRequest): Promise<{ readonly deviceCode: string; readonly userCode: string }> {
    const clientName = checkLine('client_name', request.clientName, 1, clientNameCharsMax);
    for (let tries = 0; tries < 3; tries++) {
      const [deviceCode, userCode] = [newDeviceCode(), newUserCode()];
      const code = {
        ...request,
        clientName,
        id: newId('lgn'),
        digest: deviceDigest(deviceCode),
        userCodeDigest: userCodeDigest(this.#secrets.key, userCode),
        addressPrefix: addressPrefix(request.address),
        addressSite: addressSite(request.address),
      };
      try {
        if (await insertDeviceCode(this.#pool, code)) return { deviceCode, userCode };
        throw new PortcullisError('rate_limited', 'Too many logins wait to be confirmed: try again in a minute.', {
          retryAfterS: 60,
          rule: 'device_codes',
        });
      } catch (error) {
        if (!violates(error, 'device_codes_user_code_digest_key')) throw error;
      }
    }
    throw new Error('no user code was free');
  }

  /** What waits under a code that somebody typed; null when nothing does. */
  async find(typed: string): Promise<WaitingRequest | null> {
    const userCode = readUserCode(typed);
    if (userCode === null) return null;
    const found = await findWaiting(this.#pool, userCodeDigest(this.#secrets.key, userCode));
    return found && { ...found, userCode };
  }

  /**
   * A person confirms a login, with the scopes that they hold of those asked for, or denies it.
   * @param by see {@link requirePerson}
   * @returns null when nothing waits under the code any more
   * @throws PortcullisError policy_denied, insufficient_scope (nothing would be granted)
   */
  async decide(by: Principal, requestId: string, typed: string, isApproved: boolean): Promise<DeviceRequest | null> {
    const personId = requirePerson(by);
    const waiting = await this.find(typed);
    if (!waiting) return null;
    const scopes = isApproved ? requireAny(grantedScopes(waiting.scopes, by.scopes)) : [];
    return inTransaction(this.#pool, async (tx) => {
      const decided = await decideDeviceCode(tx, userCodeDigest(this.#secrets.key, waiting.userCode), {
        state: isApproved ? 'approved' : 'denied',
        projectId: by.projectId,
        personId,
        scopes,
      });
      if (!decided) return null;
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: isApproved ? 'login.approved' : 'login.denied',
        target: decided.id,
        projectId: by.projectId,
        requestId,
        payload: { client_name: decided.clientName, client_address: decided.address, scopes },
      });
      return decided;
    });
  }

  /**
   * What the client gets that asks with its device code. A code that was used before and comes back ends the login that it
   * became: one of the two who have it is a stranger (RFC 9700, section 2.1.1). But for as long as a refresh credential
   * would, it gets the same once more: the answer may have been lost.
   * @throws PortcullisError conflict (the project has too many keys)
   */
  async redeem(deviceCode: string, requestId: string): Promise<Granted> {
    const digest = deviceCodeDigest(deviceCode);
    const polled = digest && (await pollDeviceCode(this.#pool, digest));
    if (!polled) return wrongCode;
    if (polled.state === 'used') return this.#repeatOrEnd(polled.id, requestId);
    if (polled.isExpired) return refuse('expired_token', 'The device code has expired: begin again.');
    if (polled.state === 'denied') return deniedByPerson;
    if (polled.state === 'approved') return this.#begin(polled.id, requestId);
    if (polled.isEarly) return refuse('slow_down', 'Wait five seconds longer between two requests.');
    return refuse('authorization_pending', 'The person has not confirmed this login yet.');
  }

  /** Deletes device codes of long ago. */
  async purge(): Promise<void> {
    while ((await purgeDeviceCodes(this.#pool, purgeBatchMax)) === purgeBatchMax);
  }

  async #begin(id: string, requestId: string): Promise<Granted> {
    const { result } = await controlWrite(this.#pool, async (tx, version): Promise<Granted> => {
      const code = await redeemDeviceCode(tx, id);
      if (!code) return wrongCode;
      const { projectId, personId, clientName, address } = code;
      const held = await scopesOfPerson(tx, projectId, personId);
      const scopes = held && grantedScopes(code.scopes, held);
      if (!scopes?.length) return deniedByPerson;
      const seed = randomBytes(32);
      const login = await insertLogin(tx, { ...code, seed });
      await appendAudit(tx, {
        actor: { kind: 'operator', id: personId },
        action: 'login.started',
        target: id,
        projectId,
        requestId,
        payload: { client_name: clientName, client_address: address, scopes: code.scopes },
      });
      await endOldestLogins(tx, version, personId, loginsPerPersonMax, requestId);
      return { issued: await issueLoginKey(tx, version, this.#secrets, login, scopes, requestId) };
    });
    return result;
  }

  async #repeatOrEnd(id: string, requestId: string): Promise<Granted> {
    // Looked at before anything is locked: what ended already costs a read.
    if (!(await findLogin(this.#pool, id))) return wrongCode;
    const { result } = await controlWrite(this.#pool, async (tx, version): Promise<Granted> => {
      const login = await lockLogin(tx, id);
      if (!login) return wrongCode;
      const isUsed = await isCurrentKeyUsed(tx, this.#secrets, login);
      const isAgain = judgeRefresh(0, { ...login, isUsed }) === 'again';
      const issued = isAgain ? await issuedAlready(tx, this.#secrets, login) : null;
      if (issued) return { issued };
      await endLogin(tx, version, id, { actor: { kind: 'unknown', id: 'device_code' }, requestId, how: 'reused' });
      return wrongCode;
    });
    return result;
  }
}

/**
 * The person who is signed in, and may confirm logins. Not in a session on a key: the login would outlive the key, and
 * whoever stole one could make the theft last.
 * @throws PortcullisError policy_denied
 */
export function requirePerson({ personId, keyId, method, sessionId }: Principal): string {
  if (personId !== null && keyId === null && method === 'session' && sessionId !== undefined) return personId;
  throw new PortcullisError(
    'policy_denied',
    'You are signed in with a key, and a login must be confirmed by a person: sign out, and sign in through your identity provider.',
    { rule: 'login.person' },
  );
}

function requireAny(scopes: Scope[]): Scope[] {
  if (scopes.length > 0) return scopes;
  throw new PortcullisError('insufficient_scope', 'You hold none of the scopes that this login asks for.', {
    rule: 'login.scope',
  });
}

function deviceDigest(deviceCode: string): Buffer {
  const digest = deviceCodeDigest(deviceCode);
  if (!digest) throw new Error('a new device code is not ours');
  return digest;
}
