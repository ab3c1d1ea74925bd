import { AsyncLocalStorage } from 'node:async_hooks';
import type { Pool, QueryResult } from 'pg';
import { BoundedClient, type Statement, connectWithin } from './bounded-client.ts';
import type { Tx } from './tx.ts';

/** A request of the control API, as far as its statements go. */
interface Request {
  /** Whose statements are the request's. What other pools do serves many requests at once. */
  readonly pool: Pool;
  /** Aborts, with the refusal to answer, when the deadline has passed or the client has left. */
  readonly signal: AbortSignal;
  isEnded: boolean;
}

interface Scope {
  readonly request: Request;
  /** What every statement of the request joins, once there is one. */
  readonly transaction: SharedTransaction | null;
}

const scopes = new AsyncLocalStorage<Scope | null>();

/** Runs `work` as one request: until it ends, each statement on `pool` that is made in it is cancelled when `signal` aborts. */
export async function inRequest<T>(pool: Pool, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const request = { pool, signal, isEnded: false };
  try {
    return await scopes.run({ request, transaction: null }, work);
  } finally {
    request.isEnded = true;
  }
}

/** Runs `work` as nobody's request: for what serves many, and was only begun by one. */
export function outsideRequests<T>(work: () => T): T {
  return scopes.run(null, work);
}

/** The request that a statement on `pool` belongs to; null outside of one, and for what outlived its own. */
export function requestOn(pool: Pool): Scope | null {
  const scope = scopes.getStore() ?? null;
  if (scope === null || scope.request.pool !== pool || scope.request.isEnded) return null;
  return scope.transaction?.isOpen === false ? { ...scope, transaction: null } : scope;
}

/**
 * Has the caller wait for a control version when the transaction of its request is committed; before that nobody can see it.
 * @returns false where there is no such transaction: it is committed already
 */
export function seenAfterCommit(version: bigint): boolean {
  const transaction = scopes.getStore()?.transaction;
  if (!transaction?.isOpen) return false;
  transaction.note(version);
  return true;
}

/** A statement on `pool` by itself: in the transaction of its request, within its deadline, or null outside of one. */
export function queryInRequest(pool: Pool, statement: Statement): Promise<QueryResult> | null {
  const scope = requestOn(pool);
  if (scope === null) return null;
  return scope.transaction ? scope.transaction.query(statement) : queryWithin(scope.request, statement);
}

async function queryWithin({ pool, signal }: Request, statement: Statement): Promise<QueryResult> {
  const client = await connectWithin(pool, signal);
  let broken: Error | boolean = false;
  try {
    return await new BoundedClient(client, signal).query(...statement);
  } catch (error) {
    // As the driver's own `pool.query` does it.
    broken = error instanceof Error ? error : true;
    throw error;
  } finally {
    client.release(broken || signal.aborted);
  }
}

/** A transaction that what runs in it joins, instead of beginning its own. */
export class SharedTransaction {
  readonly tx: Tx;
  isOpen = true;
  /** The newest control version that was written in it and is not undone; null for none. */
  version: bigint | null = null;
  #last: Promise<unknown> = Promise.resolve();
  /** What was asked for and has not ended. */
  #turns = 0;
  /** Whether it ended, or a part of it, before what was asked for in it: nobody can tell what that did then. */
  #isTorn = false;

  constructor(tx: Tx) {
    this.tx = tx;
  }

  /**
   * Runs `work`, with all its statements in this transaction.
   * @throws what `work` throws, and Error where it ended, or caught the end of a part, with something in it still to come
   */
  async run<T>(request: Request, work: (tx: Tx) => Promise<T>): Promise<T> {
    try {
      const result = await scopes.run({ request, transaction: this }, () => work(this.tx));
      if (this.#isTorn || this.#turns > 0) throw new Error('A transaction ended when a part of it was still open.');
      return result;
    } finally {
      this.isOpen = false;
      if (this.#turns > 0) this.#isTorn = true;
    }
  }

  /** Runs a statement of its own behind the parts that were begun before: it must not be undone with one of them. */
  query(statement: Statement): Promise<QueryResult> {
    return this.#take(() => this.tx.query(...statement));
  }

  /**
   * Runs `work` as a part that is undone by itself when it throws, so that whoever catches that can go on. Parts beside each
   * other take turns, since savepoints nest.
   */
  join<T>(request: Request, work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#take(() => this.#runPart(request, work));
  }

  #take<T>(work: () => Promise<T>): Promise<T> {
    this.#turns++;
    const turn = this.#last.then(work).finally(() => this.#turns--);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  note(version: bigint): void {
    if (this.version === null || version > this.version) this.version = version;
  }

  async #runPart<T>(request: Request, work: (tx: Tx) => Promise<T>): Promise<T> {
    const part = new SharedTransaction(this.tx);
    await this.tx.query('SAVEPOINT part');
    try {
      const result = await part.run(request, work);
      await this.tx.query('RELEASE SAVEPOINT part');
      if (part.version !== null) this.note(part.version);
      return result;
    } catch (error) {
      // Where this fails the transaction can only be undone as a whole, and it will be.
      await this.tx.query('ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part').catch(() => undefined);
      throw error;
    } finally {
      this.#isTorn ||= part.#isTorn;
    }
  }
}
