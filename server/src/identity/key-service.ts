import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { keyOverlapDefaultS, keyOverlapMaxS } from '../base/limits.ts';
import { controlWrite, type Queryable } from '../pg/tx.ts';
import { invalid } from './input.ts';
import { type CheckedKey, checkNewKey, type NewKey } from './key-input.ts';
import { auditPayload, type IssuedKey, issueKey } from './key-issue.ts';
import { endOf, lifetimeWithin, requireWithinLimits } from './key-limits.ts';
import { findKey, selectKeys, setKeyRevoked, setKeySuccessor } from './key-store.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { permits, requireMayGrant, requireScope } from './permission.ts';
import type { KeyRecord } from './records.ts';

/** A key and the one that takes its place. */
export interface RotatedKey extends IssuedKey {
  readonly predecessor: KeyRecord;
}

/** API keys: made, rotated, revoked. Scopes are checked by the API; what a caller may pass on is checked here. */
export class KeyService {
  readonly #pool: Pool;
  readonly #pepper: KeyObject;
  readonly #clock: Clock;

  /** @param pepper the same on every replica; another one makes all keys invalid */
  constructor(pool: Pool, pepper: KeyObject, clock: Clock) {
    this.#pool = pool;
    this.#pepper = pepper;
    this.#clock = clock;
  }

  /**
   * Makes a key. A caller can pass on no scope that it lacks, and no key that is not limited as its own is. For what is
   * no agent's key and names nobody, the person who makes it answers; naming somebody else takes `admin`.
   * @throws PortcullisError invalid_argument, insufficient_scope, policy_denied, not_found, conflict
   */
  async create(by: Principal, requestId: string, request: NewKey): Promise<{ result: IssuedKey; version: bigint }> {
    const checked = this.#allowed(by, checkNewKey(request), request.lifetimeS !== undefined);
    return controlWrite(this.#pool, async (tx, version) => {
      const issued = await issueKey(tx, version, this.#pepper, checked, by);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'key.created',
        target: issued.key.id,
        projectId: checked.projectId,
        requestId,
        payload: auditPayload(issued.key),
      });
      return issued;
    });
  }

  /**
   * Makes a successor with the same properties and as long a life, but none that outlives the key that asks; the old key
   * works for `overlapS` seconds more.
   * @throws PortcullisError invalid_argument, insufficient_scope, policy_denied, not_found, conflict (the key has ended,
   * or has a successor)
   */
  async rotate(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly id: string; readonly overlapS?: number },
  ): Promise<{ result: RotatedKey; version: bigint }> {
    const { projectId, id, overlapS = keyOverlapDefaultS } = request;
    if (!Number.isInteger(overlapS) || overlapS < 0 || overlapS > keyOverlapMaxS) {
      throw invalid('overlap', `The overlap must be whole seconds from 0 to ${keyOverlapMaxS}.`);
    }
    return controlWrite(this.#pool, async (tx, version) => {
      const old = await this.#requireRotatable(tx, projectId, id);
      const checked = this.#allowed(by, checkNewKey({ ...old, lifetimeS: lifetimeOf(old) }), false);
      const issued = await issueKey(tx, version, this.#pepper, checked, by);
      const predecessor = await setKeySuccessor(tx, version, id, issued.key.id, overlapS);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'key.rotated',
        target: id,
        projectId,
        requestId,
        payload: { ...auditPayload(issued.key), successor_id: issued.key.id, overlap_s: overlapS },
      });
      return { ...issued, predecessor };
    });
  }

  /** Ends a key now, its calls in flight included; twice changes nothing the second time. @throws PortcullisError not_found */
  async revoke(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: KeyRecord; version: bigint }> {
    const { projectId, id } = request;
    return controlWrite(this.#pool, async (tx, version) => {
      const key = await requireKey(tx, projectId, id);
      // Else a lesser key could lock every operator out.
      if (key.scopes.includes('admin')) requireScope(by, 'admin');
      const revoked = await setKeyRevoked(tx, version, id);
      if (!revoked) return key;
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'key.revoked',
        target: id,
        projectId,
        requestId,
        payload: { name: key.name, agent_id: key.agentId, person_id: key.personId },
      });
      return revoked;
    });
  }

  /** Keys of a project by time of creation, newest first; ended ones included. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<KeyRecord>> {
    return readPage(page, (beforeId, limit) => selectKeys(this.#pool, projectId, beforeId, limit));
  }

  /** The key as `by` may make it. @throws PortcullisError insufficient_scope, policy_denied */
  #allowed(by: Principal, key: CheckedKey, lifetimeIsAsked: boolean): CheckedKey {
    requireMayGrant(by, key.scopes);
    requireWithinLimits(by, key);
    if (key.personId !== null && key.personId !== by.personId && !permits(by, 'admin')) throw anotherPerson();
    return {
      ...key,
      personId: key.kind === 'agent' ? null : (key.personId ?? by.personId),
      lifetimeS: lifetimeWithin(by, key, lifetimeIsAsked, this.#clock.now()),
      endsAt: endOf(by, key.kind),
    };
  }

  async #requireRotatable(db: Queryable, projectId: string, id: string): Promise<KeyRecord> {
    const key = await requireKey(db, projectId, id);
    if (key.loginId !== null) {
      throw new PortcullisError(
        'conflict',
        `The key ${id} is of the login ${key.loginId}, which renews it by itself: end the login, or make a key of its own.`,
      );
    }
    if (key.successorId !== null) {
      throw new PortcullisError('conflict', `The key ${id} was rotated already: its successor is ${key.successorId}.`);
    }
    if (key.revokedAt !== null || (key.expiresAt !== null && key.expiresAt <= this.#clock.now())) {
      throw new PortcullisError('conflict', `The key ${id} has ended: make a new one.`);
    }
    return key;
  }
}

function anotherPerson(): PortcullisError {
  return new PortcullisError(
    'insufficient_scope',
    'A key of another person, or for which one answers, takes the scope admin to make.',
    {
      rule: 'scope:admin',
    },
  );
}

function lifetimeOf({ createdAt, expiresAt }: KeyRecord): number | null {
  return expiresAt === null ? null : Math.round((expiresAt - createdAt) / 1000);
}

async function requireKey(db: Queryable, projectId: string, id: string): Promise<KeyRecord> {
  const key = await findKey(db, projectId, id);
  if (!key) throw new PortcullisError('not_found', `There is no key ${id.slice(0, 100)} in this project.`);
  return key;
}
