import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import { leastId } from '../../base/ids.ts';
import { redeliveriesMax } from '../../base/webhook-limits.ts';
import { invalid } from '../../identity/input.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { exampleData, isEventType } from '../../outbox/catalogue.ts';
import { outboxChannel } from '../../outbox/emit.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import type { Delivery, LoggedAttempt } from './delivery-log-model.ts';
import {
  type DeliveryFilter,
  findBody,
  findDelivery,
  selectAttempts,
  selectDeliveries,
  selectEnded,
} from './delivery-log-store.ts';
import { emitTo } from './direct.ts';
import { type By, auditEndpoint } from './endpoint-audit.ts';
import type { Endpoint } from './endpoint-model.ts';
import { findEndpoint, lockEndpoint } from './endpoint-store.ts';
import { requeue } from './requeue-store.ts';

/** Deliveries of an endpoint in a span of time. */
export interface Span extends By {
  readonly endpointId: string;
  /** Epoch milliseconds, by when a delivery was made. */
  readonly sinceMs: number;
  /** Null has no end. */
  readonly untilMs: number | null;
  /** Whether those too that were delivered; else dead ones alone. */
  readonly delivered: boolean;
  /** The last delivery of the call before. */
  readonly afterId: string | null;
}

const testType = 'webhook.test';
// What requeue() is not asked to look at: the ids say which.
const anyTime = { since: 0, until: 253_402_300_799_000 };

/** What was delivered to endpoints and what was not, and having it delivered again. */
export class DeliveryLog {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Newest first. @throws PortcullisError invalid_argument, not_found (the endpoint) */
  async list(filter: DeliveryFilter, page: PageRequest): Promise<Page<Delivery>> {
    const { projectId, endpointId, state } = filter;
    if (endpointId !== null) await this.#endpoint(projectId, endpointId);
    else if (state !== null && state !== 'dead') {
      throw invalid('state', `state ${state} is listed of one endpoint: name it in endpoint_id.`);
    }
    return readPage(page, (beforeId, limit) => selectDeliveries(this.#pool, filter, beforeId, limit));
  }

  /** A delivery and what is posted for it. @throws PortcullisError not_found */
  async get(projectId: string, id: string): Promise<{ delivery: Delivery; body: string }> {
    const delivery = required(await findDelivery(this.#pool, projectId, id), id);
    return { delivery, body: (await findBody(this.#pool, delivery.eventId)) ?? '' };
  }

  /** Newest first. @throws PortcullisError invalid_argument, not_found (the delivery) */
  async attempts(projectId: string, deliveryId: string, page: PageRequest): Promise<Page<LoggedAttempt>> {
    required(await findDelivery(this.#pool, projectId, deliveryId), deliveryId);
    return readPage(page, (before, limit) =>
      selectAttempts(this.#pool, deliveryId, before === null ? null : Number(before), limit),
    );
  }

  /**
   * Delivers again, under the same webhook-id, what was delivered or given up.
   * @throws PortcullisError not_found, conflict (still on its way, or the endpoint is not active)
   */
  redeliver(order: By & { readonly id: string }): Promise<Delivery> {
    const { projectId, id } = order;
    return inTransaction(this.#pool, async (tx) => {
      const { endpointId } = required(await findDelivery(tx, projectId, id), id);
      const endpoint = await activeEndpoint(tx, projectId, endpointId);
      if ((await again(tx, endpoint, [id], true)) === 0) {
        throw new PortcullisError(
          'conflict',
          `The delivery ${id} is still on its way: there is nothing to repeat yet.`,
        );
      }
      await auditEndpoint(tx, order, 'webhook.redelivered', endpoint, { delivery_id: id });
      return required(await findDelivery(tx, projectId, id), id);
    });
  }

  /**
   * The same of a span, the oldest first and `redeliveriesMax` at a time.
   * @returns how many, and the last of them where there are more
   * @throws PortcullisError invalid_argument, not_found, conflict (the endpoint is not active)
   */
  redeliverSpan(order: Span): Promise<{ redelivered: number; lastId: string | null }> {
    const { projectId, endpointId, sinceMs, untilMs, delivered } = order;
    if (untilMs !== null && sinceMs >= untilMs) throw invalid('since_time', 'since_time must be before until_time.');
    return inTransaction(this.#pool, async (tx) => {
      const endpoint = await activeEndpoint(tx, projectId, endpointId);
      const span = {
        projectId,
        endpointId,
        afterId: order.afterId,
        fromId: leastId('whd', sinceMs),
        toId: leastId('whd', untilMs ?? Infinity),
        states: delivered ? (['dead', 'delivered'] as const) : (['dead'] as const),
      };
      const ids = await selectEnded(tx, span, redeliveriesMax + 1);
      const chosen = ids.slice(0, redeliveriesMax);
      if (chosen.length === 0) return { redelivered: 0, lastId: null };
      const redelivered = await again(tx, endpoint, chosen, delivered);
      const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
      const told = { since: iso(sinceMs), until: iso(untilMs), include_delivered: delivered, redelivered };
      await auditEndpoint(tx, order, 'webhook.redelivered', endpoint, told);
      return { redelivered, lastId: ids.length > chosen.length ? (chosen.at(-1) ?? null) : null };
    });
  }

  /**
   * Sends the example of an event to one endpoint alone.
   * @param order `eventType` empty is a message that says that it is a test
   * @throws PortcullisError invalid_argument, not_found, conflict (the endpoint is not active)
   */
  test(order: By & { readonly endpointId: string; readonly eventType: string }): Promise<Delivery> {
    const { projectId, endpointId, by } = order;
    const type = order.eventType === '' ? testType : order.eventType;
    return inTransaction(this.#pool, async (tx) => {
      const endpoint = await activeEndpoint(tx, projectId, endpointId);
      const event = { projectId, endpointId, type, data: testData(type, by.id) };
      const { deliveryId } = await emitTo(tx, event);
      await auditEndpoint(tx, order, 'webhook.tested', endpoint, { event_type: type });
      return required(await findDelivery(tx, projectId, deliveryId), deliveryId);
    });
  }

  async #endpoint(projectId: string, id: string): Promise<void> {
    if (await findEndpoint(this.#pool, projectId, id)) return;
    throw new PortcullisError('not_found', `There is no webhook endpoint ${id.slice(0, 100)} in this project.`);
  }
}

function testData(type: string, by: string): Readonly<Record<string, unknown>> {
  if (type === testType) return { message: 'A test: nothing happened.', sent_by: by };
  if (isEventType(type)) return exampleData(type);
  throw invalid('event_type', `event_type "${type}" is no type of the catalogue.`);
}

async function again(tx: Tx, endpoint: Endpoint, ids: readonly string[], delivered: boolean): Promise<number> {
  const { projectId, id: endpointId } = endpoint;
  const count = await requeue(tx, { projectId, endpointId, ids, ...anyTime, delivered, limit: ids.length });
  await tx.query(`SELECT pg_notify('${outboxChannel}', '')`);
  return count;
}

async function activeEndpoint(tx: Tx, projectId: string, id: string): Promise<Endpoint> {
  const endpoint = await lockEndpoint(tx, projectId, id);
  if (!endpoint)
    throw new PortcullisError('not_found', `There is no webhook endpoint ${id.slice(0, 100)} in this project.`);
  if (endpoint.state === 'active') return endpoint;
  throw new PortcullisError('conflict', `The endpoint is ${endpoint.state}: nothing is delivered to it.`);
}

function required(delivery: Delivery | null, id: string): Delivery {
  if (delivery !== null) return delivery;
  throw new PortcullisError('not_found', `There is no webhook delivery ${id.slice(0, 100)} in this project.`);
}
