import type { Client, Pool } from 'pg';
import { approvalPollMs, approvalReconnectMs, approvalWaitsMax } from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timerMsMax } from '../base/limits.ts';
import { type ConnectionOptions, createClient } from '../pg/pool.ts';
import { outsideRequests } from '../pg/request-scope.ts';
import type { Approval } from './model.ts';
import { approvalChannel, findApproval, selectSettled } from './store.ts';

export interface WaitParts {
  readonly pool: Pool;
  readonly connection: ConnectionOptions;
  readonly log: Logger;
}

/** One who waits; told once. */
type Waiter = () => void;

/**
 * Waits for people's answers without holding a connection: one for the process listens, and one statement in a while asks for
 * all that is waited for, in case a notification was lost.
 */
export class ApprovalWaits {
  readonly #parts: WaitParts;
  readonly #waiting = new Map<string, Set<Waiter>>();
  #count = 0;
  #client: Client | undefined;
  #running = false;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: WaitParts) {
    this.#parts = parts;
  }

  /** How many wait in this process. */
  get size(): number {
    return this.#count;
  }

  /** Listens from now on; where the database is away, as soon as it is back. */
  start(): void {
    this.#running = true;
    this.#plan(0);
  }

  /** Ends all waiting; whoever waits is told how things stand. */
  async stop(): Promise<void> {
    this.#running = false;
    clearTimeout(this.#timer);
    await this.#work;
    for (const waiters of this.#waiting.values()) for (const wake of waiters) wake();
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  /**
   * The approval when it has an outcome; as it stands when `forMs` are over or this process stops: still pending then.
   * @throws PortcullisError unavailable (too many wait here), not_found; the reason of `signal` when it aborts
   */
  async wait(id: string, signal: AbortSignal, forMs: number): Promise<Approval> {
    if (this.#count >= approvalWaitsMax) {
      throw new PortcullisError('unavailable', 'Too many calls wait for people here already.', { retryAfterS: 5 });
    }
    const endsAt = performance.now() + Math.min(forMs, timerMsMax);
    for (;;) {
      signal.throwIfAborted();
      const left = endsAt - performance.now();
      // Registered before it reads: a decision in between wakes it.
      const woken = this.#register(id, signal, Math.max(left, 0));
      try {
        const approval = await outsideRequests(() => findApproval(this.#parts.pool, { id, projectId: null }));
        if (!approval) throw new PortcullisError('not_found', 'There is no such approval any more.');
        if (approval.state !== 'pending' || left <= 0 || !this.#running) return approval;
        await woken.promise;
      } finally {
        woken.forget();
      }
    }
  }

  #register(id: string, signal: AbortSignal, forMs: number): { promise: Promise<void>; forget: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiters = this.#waiting.get(id) ?? new Set<Waiter>();
    this.#waiting.set(id, waiters.add(resolve));
    this.#count += 1;
    const timer = setTimeout(resolve, forMs);
    const onAbort = () => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    const forget = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (!waiters.delete(resolve)) return;
      this.#count -= 1;
      if (waiters.size === 0 && this.#waiting.get(id) === waiters) this.#waiting.delete(id);
    };
    return { promise, forget };
  }

  #wake(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  #plan(afterMs: number): void {
    if (!this.#running) return;
    this.#timer = setTimeout(() => {
      this.#work = this.#look().then(
        () => this.#plan(approvalPollMs),
        (err: unknown) => {
          this.#parts.log.warn({ err }, 'approvals cannot be listened to');
          this.#drop();
          this.#plan(approvalReconnectMs);
        },
      );
    }, afterMs);
  }

  /** Listens, and asks for all that is waited for. */
  async #look(): Promise<void> {
    const client = await this.#connect();
    const ids = [...this.#waiting.keys()];
    if (ids.length === 0) return;
    for (const id of await selectSettled(client, ids)) this.#wake(id);
  }

  async #connect(): Promise<Client> {
    if (this.#client) return this.#client;
    const client = createClient(this.#parts.connection);
    this.#client = client;
    const forget = () => {
      if (this.#client === client) this.#client = undefined;
    };
    client.on('error', forget);
    client.on('end', forget);
    client.on('notification', ({ payload = '' }) => this.#wake(payload));
    await client.connect();
    await client.query(`LISTEN ${approvalChannel}`);
    return client;
  }

  #drop(): void {
    this.#client?.end().catch(() => undefined);
    this.#client = undefined;
  }
}
