import { createHash, randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { callbackLifetimeDefaultS, callbackLifetimeMaxS, callbacksPerProjectMax } from '../../base/inbound-limits.ts';
import { pageSizeDefault } from '../../base/limits.ts';
import { invalid } from '../../identity/input.ts';
import type { Principal } from '../../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { inTransaction } from '../../pg/tx.ts';
import type { Bodies } from './bodies.ts';
import { countCallbacks, insertCallback } from './callback-store.ts';
import { insertJob } from './job-store.ts';
import type { Callback, RefusedWebhooks, WebhookEvent, WholeEvent } from './model.ts';
import { selectRefusals } from './refusal-store.ts';
import type { Sources } from './sources.ts';
import { type EventFilter, findContent, findEvent, reopenEvent, selectEvents } from './store.ts';

/** A callback that is asked for. */
export interface AskedCallback {
  readonly projectId: string;
  readonly source: string;
  readonly runId: string | null;
  readonly jobId: string | null;
  /** Null is a day. */
  readonly lifetimeS: number | null;
}

export interface ServiceParts {
  readonly pool: Pool;
  readonly sources: Sources;
  readonly bodies: Bodies;
  /** PUBLIC_URL; null where it is not set. */
  readonly publicUrl: string | null;
  readonly wake: () => void;
  /** Refuses a run that the caller may not reach. */
  readonly requireRun: (by: Principal, run: { readonly id: string; readonly projectId: string }) => Promise<void>;
}

/** What people and agents may ask of webhooks that came in. */
export class WebhookEvents {
  readonly #parts: ServiceParts;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  /** Newest first. @throws PortcullisError invalid_argument */
  list(filter: EventFilter, page: PageRequest): Promise<Page<WebhookEvent>> {
    return readPage(page, (beforeId, limit) => selectEvents(this.#parts.pool, filter, beforeId, limit));
  }

  /** With headers and body. @throws PortcullisError not_found */
  async get(projectId: string, id: string): Promise<WholeEvent> {
    const { pool, bodies } = this.#parts;
    const event = await findEvent(pool, id);
    const content = event?.projectId === projectId ? await findContent(pool, id) : null;
    if (!event || !content) throw noSuchEvent(id);
    return { ...event, headers: content.headers, body: bodies.open(id, content.body, event.sealed) };
  }

  /**
   * Processes an event again, from the beginning: with what the configuration says now. What was done before is not done twice.
   * @throws PortcullisError not_found, conflict (it waits to be processed)
   */
  async replay(by: Principal, requestId: string, projectId: string, id: string): Promise<WebhookEvent> {
    const { pool, wake } = this.#parts;
    const replayed = await inTransaction(pool, async (tx) => {
      const before = await findEvent(tx, id);
      if (before?.projectId !== projectId) throw noSuchEvent(id);
      const event = await reopenEvent(tx, projectId, id);
      if (!event) throw new PortcullisError('conflict', 'This event waits to be processed already.');
      await insertJob(tx, id, event.callbackId !== null);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'webhook_event.replayed',
        target: id,
        projectId,
        requestId,
        payload: { source: event.source, state: before.state, replays: event.replays },
      });
      return event;
    });
    wake();
    return replayed;
  }

  /** What was refused lately, counted by hours. */
  refused(): Promise<RefusedWebhooks[]> {
    return selectRefusals(this.#parts.pool, pageSizeDefault * 2);
  }

  /**
   * Makes a path for one job of a sender that cannot sign. It is told once, and stands nowhere else.
   * @throws PortcullisError invalid_argument, not_found (the run), conflict (too many)
   */
  async createCallback(
    by: Principal,
    requestId: string,
    asked: AskedCallback,
  ): Promise<{ callback: Callback; url: string }> {
    const { pool, sources, publicUrl, requireRun } = this.#parts;
    const { projectId, runId, jobId } = asked;
    const lifetimeS = asked.lifetimeS ?? callbackLifetimeDefaultS;
    const source = sources.get(asked.source);
    if (source?.scheme !== null) throw invalid('source', 'source must be one of the configuration that cannot sign.');
    if (lifetimeS < 60 || lifetimeS > callbackLifetimeMaxS)
      throw invalid('lifetime', `lifetime must be 60 s to ${callbackLifetimeMaxS / 86_400} days.`);
    if (runId === null && by.kind === 'agent') throw invalid('run_id', 'run_id is required: name a run of yours.');
    if (runId !== null) await requireRun(by, { id: runId, projectId });
    const token = randomBytes(32).toString('base64url');
    const callback = await inTransaction(pool, async (tx) => {
      if ((await countCallbacks(tx, projectId, callbacksPerProjectMax)) >= callbacksPerProjectMax)
        throw new PortcullisError('conflict', `A project has ${callbacksPerProjectMax} callback paths at most: wait.`);
      const made = { id: newId('cbk'), projectId, source: source.name, runId, jobId, createdBy: by.id };
      const inserted = await insertCallback(tx, made, createHash('sha256').update(token).digest(), lifetimeS);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'webhook_callback.created',
        target: inserted.id,
        projectId,
        requestId,
        payload: { source: source.name, run_id: runId, job_id: jobId, lifetime_s: lifetimeS },
      });
      return inserted;
    });
    return { callback, url: `${publicUrl ?? ''}/v1/webhooks/${source.name}/${token}` };
  }
}

function noSuchEvent(id: string): PortcullisError {
  return new PortcullisError('not_found', `There is no webhook event "${id.slice(0, 100)}" in this project.`);
}
