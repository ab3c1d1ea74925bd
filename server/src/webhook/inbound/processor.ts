import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import {
  webhookAskingMax,
  webhookClaimMax,
  webhookClaimMs,
  webhookJobsMax,
  webhookParsedBytesMax,
} from '../../base/inbound-limits.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { outsideRequests } from '../../pg/request-scope.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import type { Bodies } from './bodies.ts';
import { type Effect, type Handlers, Refused, useOf, type Work } from './handlers.ts';
import { type Claim, claimJobs, countJobs, endJob, giveBack, putOff } from './job-store.ts';
import type { EventState } from './model.ts';
import { parseJson } from './pointer.ts';
import { noteOf, pauseAfter, type Retries, retries } from './rules.ts';
import type { Sources } from './sources.ts';
import { findContent, findEvent, finishEvent, noteFailure } from './store.ts';

export interface ProcessorParts {
  readonly pool: Pool;
  readonly sources: Sources;
  readonly bodies: Bodies;
  readonly handlers: Handlers;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, 'webhookEvents'>;
  readonly retries?: Retries;
  /** Whether it does those events for which others must be asked, or all else: a sender that is slow delays its like alone. */
  readonly asks: boolean;
}

/**
 * Does what is to be done of events. A claim keeps an event for one process for a time; what it does and the end of its job are
 * one transaction, so that it is done once, whoever dies in between.
 */
export class WebhookProcessor {
  readonly #parts: ProcessorParts;
  readonly #retries: Retries;
  readonly #ending = new AbortController();
  #running: Promise<void> | null = null;
  #again = false;
  #waiting = 0;

  constructor(parts: ProcessorParts) {
    this.#parts = parts;
    this.#retries = parts.retries ?? retries;
  }

  /** Whether as many events wait as may; as of the last look. */
  get isFull(): boolean {
    return this.#waiting >= webhookJobsMax;
  }

  async look(): Promise<void> {
    this.#waiting = await countJobs(this.#parts.pool, webhookJobsMax);
  }

  /** Begins at once, without waiting for it; as nobody's request, whoever's it is that has something to be done. */
  wake(): void {
    outsideRequests(() => this.work()).catch((err: unknown) =>
      this.#parts.log.warn({ err }, 'webhooks could not be processed now'),
    );
  }

  /** Does all that is due. Whoever comes meanwhile shares it, and what came meanwhile is done too. */
  work(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#drain().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Ends after the events under way; what asks others is broken off. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running?.catch(() => undefined);
  }

  async #drain(): Promise<void> {
    while (this.#again && !this.#ending.signal.aborted) {
      this.#again = false;
      const claim = randomUUID();
      const { pool, asks } = this.#parts;
      const limit = asks ? webhookAskingMax : webhookClaimMax;
      const jobs = await claimJobs(pool, claim, { asks, limit, claimMs: webhookClaimMs });
      if (jobs.length === limit) this.#again = true;
      await this.#each(jobs, claim);
    }
  }

  async #each(jobs: readonly Claim[], claim: string): Promise<void> {
    const outcomes = await Promise.allSettled(jobs.map((job) => this.#process(job, claim)));
    const broken = outcomes.filter((outcome) => outcome.status === 'rejected');
    if (broken[0]) throw broken[0].reason;
  }

  async #process({ eventId, attempt }: Claim, claim: string): Promise<void> {
    const { pool } = this.#parts;
    const { signal } = this.#ending;
    // Only names of the configuration are labels.
    let source = 'unknown';
    if (signal.aborted) return giveBack(pool, [eventId], claim);
    try {
      // A try that ends its process leaves no other trace than its count.
      if (attempt > this.#retries.triesMax) throw new Refused('Each try ended with its process.');
      const work = await this.#load(eventId);
      source = work.source.name;
      signal.throwIfAborted();
      const handler = this.#parts.handlers[useOf(work.source)];
      const prepared = await handler.prepare?.(work, signal);
      const state = await this.#finish(eventId, claim, attempt, (tx) => handler.apply(tx, work, prepared));
      if (state !== null) this.#parts.metrics.webhookEvents.inc({ source, status: state });
    } catch (error) {
      if (signal.aborted) return giveBack(pool, [eventId], claim);
      const status = await this.#fail(eventId, claim, attempt, error);
      this.#parts.metrics.webhookEvents.inc({ source, status });
    }
  }

  async #load(eventId: string): Promise<Work> {
    const { pool, sources, bodies } = this.#parts;
    const event = await findEvent(pool, eventId);
    const stored = await findContent(pool, eventId);
    if (!event || !stored) throw new Refused('The event is gone.');
    const source = sources.get(event.source);
    if (!source) throw new Error('Its source is not in the configuration of this gate.');
    const body = bodies.open(eventId, stored.body, event.sealed);
    if (body === null) throw new Refused('Its body was sealed under another SECRETS_KEY.');
    const content = body.length > webhookParsedBytesMax ? undefined : parseJson(body);
    return { event, source, body, content };
  }

  /** @returns null where the claim had ended, and nothing was done */
  #finish(
    eventId: string,
    claim: string,
    attempts: number,
    apply: (tx: Tx) => Promise<Effect>,
  ): Promise<EventState | null> {
    return inTransaction(this.#parts.pool, async (tx) => {
      if (!(await endJob(tx, eventId, claim))) return null;
      const effect = await apply(tx);
      await finishEvent(tx, eventId, { ...effect, attempts });
      return effect.state;
    });
  }

  async #fail(eventId: string, claim: string, attempts: number, error: unknown): Promise<'dead' | 'failed'> {
    const { pool, log } = this.#parts;
    const pauseMs = error instanceof Refused ? null : pauseAfter(attempts, this.#retries);
    const note = noteOf(error);
    const isDead = await inTransaction(pool, async (tx) => {
      if (pauseMs !== null) {
        if (await putOff(tx, eventId, claim, pauseMs)) await noteFailure(tx, eventId, note, attempts);
        return false;
      }
      if (!(await endJob(tx, eventId, claim))) return false;
      const event = await findEvent(tx, eventId);
      if (event) await finishEvent(tx, eventId, { state: 'dead', note, runId: event.runId, attempts });
      return true;
    });
    log.warn({ webhook_event_id: eventId, attempts, note, dead: isDead }, 'a webhook could not be processed');
    return isDead ? 'dead' : 'failed';
  }
}
