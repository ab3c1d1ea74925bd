import { type KeyObject, createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
  idempotencyKeptMs,
  idempotentAnswerBytesMax,
  idempotentAnswersPerProjectBytesMax,
  idempotentAnswersPerProjectMax,
  idempotentRefusalKeptMs,
  purgeBatchMax,
} from '../base/limits.ts';
import { type WholeAnswer, sealAnswer } from '../base/sealed-answer.ts';
import { isUnavailable } from '../pg/errors.ts';
import { requestOn } from '../pg/request-scope.ts';
import type { Queryable } from '../pg/tx.ts';
import { idOf, keptAnswer, refusals } from './kept.ts';
import type { Claim, KeyScope, KeyUse } from './model.ts';
import { Releases } from './releases.ts';
import {
  type Room,
  deleteClaims,
  deleteExpiredKeys,
  dropAnswers,
  findKey,
  finishClaim,
  insertClaim,
  newestBeyond,
  projectsWithAnswers,
} from './store.ts';
import { type Written, writeOnce } from './write-once.ts';
import { WriteTurns } from './write-turns.ts';

export interface IdempotencyOptions {
  readonly pool: Pool;
  /** Seals the answers; all replicas have the same one. */
  readonly key: KeyObject;
  /** Epoch milliseconds, by one clock for all replicas: the database's. */
  readonly now: () => number;
  /** How long a write waits in this process for another one under its key; 0 is as long as its deadline lets it. */
  readonly waitMs: number;
}

/** A key is ours to work under, or was used before and here is its answer. */
export type Claimed =
  | { readonly claim: Claim; readonly answer: null }
  | { readonly claim: null; readonly answer: WholeAnswer };

/**
 * Idempotency keys. For calls with an effect outside of the database: a committed claim with a lease, and no second run. For
 * writes whose effect is in it: a row of their own transaction.
 */
export class Idempotency {
  readonly #options: IdempotencyOptions;
  readonly #releases: Releases;
  readonly #secretsKey: KeyObject;
  readonly #turns = new WriteTurns();

  constructor(options: IdempotencyOptions) {
    this.#options = options;
    this.#secretsKey = createSecretKey(Buffer.from(hkdfSync('sha256', options.key, '', 'secrets in fingerprints', 32)));
    this.#releases = new Releases(options);
  }

  /**
   * Claims a key, durably, or finds what it was used for.
   * @throws PortcullisError idempotency_mismatch, in_progress, conflict (used, and no answer to give), unavailable
   */
  async claim({ scope, fingerprint, leaseMs }: KeyUse): Promise<Claimed> {
    const { pool, now } = this.#options;
    const id = idOf(scope);
    const claim: Claim = { id, claimId: newId('idk'), leaseUntil: now() + leaseMs };
    try {
      // A key that is given back between the two statements is there to be taken again.
      for (let tries = 0; tries < 3; tries++) {
        const expiresAt = new Date(claim.leaseUntil + idempotencyKeptMs);
        const wanted = { ...claim, projectId: scope.projectId, fingerprint, expiresAt };
        if (await insertClaim(pool, wanted, new Date(now()))) return { claim, answer: null };
        const record = await findKey(pool, id, fingerprint);
        if (record) return { claim: null, answer: keptAnswer(this.#options, record, id, fingerprint) };
      }
    } catch (error) {
      // It may stand all the same, and nothing will be sent under it.
      this.release(claim).catch(() => undefined);
      throw isUnavailable(error) ? unavailable(error) : error;
    }
    throw refusals.in_progress();
  }

  /**
   * Ends a claim with its answer: from now on the key gives that, a refusal for minutes only. An answer that is too large
   * ends it all the same, so that nothing runs twice. A claim that cannot be ended has an unknown end once its lease is
   * over.
   */
  async finish(claim: Claim, answer: WholeAnswer): Promise<void> {
    const { pool, key, now } = this.#options;
    const sealed = answer.body.length > idempotentAnswerBytesMax ? null : sealAnswer(key, answer, claim.id);
    const at = now();
    const keptMs = answer.status < 400 ? idempotencyKeptMs : idempotentRefusalKeptMs;
    await finishClaim(pool, claim, sealed, new Date(at), new Date(at + keptMs));
  }

  /**
   * Runs a write at most once under its key, in one transaction with the key, and gives what it came to. Runs in a request
   * of the control API (pg/request-scope.ts). Others of this process that come under the same key meanwhile wait without a
   * connection.
   * @param request what is asked; it may hold secrets
   * @param write gives the answer to keep
   * @throws PortcullisError idempotency_mismatch, in_progress, conflict (no answer to give); and what `write` throws, of which
   * nothing is kept then
   */
  once(scope: KeyScope, request: Buffer, write: () => Promise<Buffer>): Promise<Written> {
    const id = idOf(scope);
    const use = { id, scope, fingerprint: this.disguise(request) };
    return this.#turns.run(
      id,
      () => this.#patience(),
      () => writeOnce(this.#options, use, write),
    );
  }

  /** Aborts when the request ends, or has waited as long as it would for a lock in the database. */
  #patience(): AbortSignal {
    const { pool, waitMs } = this.#options;
    const late = new AbortController();
    if (waitMs > 0) setTimeout(() => late.abort(refusals.in_progress()), waitMs).unref();
    const request = requestOn(pool)?.request;
    return request ? AbortSignal.any([request.signal, late.signal]) : late.signal;
  }

  /** Tells one secret from another in a fingerprint; whoever reads the table cannot even try what it was. */
  disguise(secret: string | Buffer): Buffer {
    return createHmac('sha256', this.#secretsKey).update(secret).digest();
  }

  /**
   * Gives a key back: what was done under it had no lasting effect, and may be tried again. Where that fails it is tried
   * again, until the lease is over.
   */
  async release(claim: Claim): Promise<void> {
    try {
      await deleteClaims(this.#options.pool, [claim]);
    } catch (error) {
      this.#releases.add(claim);
      throw error;
    }
  }

  /** Deletes what is older than it is kept for, and answers that take more room than a project has. */
  async purge(): Promise<void> {
    const { pool, now } = this.#options;
    while ((await deleteExpiredKeys(pool, new Date(now()), purgeBatchMax)) === purgeBatchMax);
    const room = { answers: idempotentAnswersPerProjectMax, bytes: idempotentAnswersPerProjectBytesMax };
    await makeRoom(pool, room, purgeBatchMax);
  }
}

/**
 * Drops the oldest answers of each project that has more than `room`, `batchMax` in a statement: none takes long, whatever
 * came together since the last time. Of answers that ended in one millisecond all go or none.
 */
export async function makeRoom(db: Queryable, room: Room, batchMax: number): Promise<void> {
  for (const projectId of await projectsWithAnswers(db)) {
    const until = await newestBeyond(db, projectId, room);
    if (until === null) continue;
    while ((await dropAnswers(db, projectId, until, batchMax)) === batchMax);
  }
}

function unavailable(cause: unknown): PortcullisError {
  return new PortcullisError(
    'unavailable',
    'The database cannot be reached, so the Idempotency-Key could not be claimed: nothing was sent. Try again.',
    { retryAfterS: 1, cause },
  );
}
