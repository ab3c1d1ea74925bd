import { isDeepStrictEqual } from 'node:util';
import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { SealingKey } from '../../base/sealed-secret.ts';
import { challengeGapMs, endpointsPerProjectMax, secretOverlapMs } from '../../base/webhook-limits.ts';
import { checkLine, invalid } from '../../identity/input.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import type { Egress } from '../../net/egress/egress.ts';
import { EgressError } from '../../net/egress/model.ts';
import { type EventType, eventTypes, isEventType } from '../../outbox/catalogue.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import { pauseChallenge, putChallenge } from './challenge-store.ts';
import { type By, auditEndpoint } from './endpoint-audit.ts';
import { type Endpoint, type EndpointContent, etagOf, hostOf } from './endpoint-model.ts';
import {
  countEndpoints,
  expireSecrets,
  findEndpoint,
  insertEndpoint,
  insertSecret,
  lockEndpoint,
  lockProject,
  selectEndpoints,
  setEndpointDeleted,
  touchEndpoint,
  updateEndpoint,
} from './endpoint-store.ts';
import { hmacSecretText, makeSecret } from './signing.ts';

/** What of an endpoint a caller writes, not checked yet. */
export interface AskedContent {
  readonly url: string;
  readonly description: string;
  readonly eventTypes: readonly string[];
  readonly ratePerS: number | null;
  readonly ordered: boolean;
}

interface Named extends By {
  readonly id: string;
}

interface Change extends Named {
  /** What the change was made from; null does not look. */
  readonly etag: string | null;
}

/** An endpoint and its secret, which whoever asked for it sees now or never. */
export interface WithSecret {
  readonly endpoint: Endpoint;
  readonly secret: string;
}

/** The endpoints of projects: where their events go. */
export class WebhookEndpoints {
  readonly #pool: Pool;
  readonly #sealing: SealingKey;
  readonly #egress: Pick<Egress, 'check'>;

  /** @param sealing the same on every replica */
  constructor(pool: Pool, sealing: SealingKey, egress: Pick<Egress, 'check'>) {
    this.#pool = pool;
    this.#sealing = sealing;
    this.#egress = egress;
  }

  /** @throws PortcullisError invalid_argument (the URL, say), not_found (the project), conflict (too many) */
  create(order: By & AskedContent): Promise<WithSecret> {
    const content = this.#checked(order);
    const { by, projectId } = order;
    return inTransaction(this.#pool, async (tx) => {
      if (!(await lockProject(tx, projectId)))
        throw new PortcullisError('not_found', `There is no project ${projectId.slice(0, 100)}.`);
      if ((await countEndpoints(tx, projectId, endpointsPerProjectMax)) >= endpointsPerProjectMax) {
        throw new PortcullisError(
          'conflict',
          `A project may have ${endpointsPerProjectMax} endpoints: delete one that is not used.`,
        );
      }
      const id = newId('whe');
      await insertEndpoint(tx, { id, projectId, createdBy: by.id, ...content });
      const secret = await this.#newSecret(tx, id);
      await putChallenge(tx, { endpointId: id, projectId, id: newId('msg') }, challengeGapMs);
      await auditEndpoint(tx, order, 'webhook_endpoint.created', { id, url: content.url }, told(content));
      return { endpoint: await this.#again(tx, projectId, id), secret };
    });
  }

  /** @throws PortcullisError not_found */
  async get(projectId: string, id: string): Promise<Endpoint> {
    return required(await findEndpoint(this.#pool, projectId, id), id);
  }

  /** Newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<Endpoint>> {
    return readPage(page, (beforeId, limit) => selectEndpoints(this.#pool, projectId, beforeId, limit));
  }

  /**
   * Changes what is given. Another URL is verified anew; nothing is sent to it before. What changes nothing leaves the
   * endpoint, its etag and the audit log as they were.
   * @throws PortcullisError invalid_argument, not_found, conflict (the etag)
   */
  update(
    order: Change & { readonly change: Partial<AskedContent> & { readonly disabled?: boolean } },
  ): Promise<Endpoint> {
    const { projectId, change } = order;
    return inTransaction(this.#pool, async (tx) => {
      const before = await lockedEndpoint(tx, order);
      const { disabled = before.state === 'disabled', ...asked } = change;
      const after = this.#checked({ ...before, ...asked }, before.url);
      const changed = contentNames.filter((name) => !isDeepStrictEqual(before[name], after[name]));
      const turned = disabled !== (before.state === 'disabled');
      if (changed.length === 0 && !turned) return before;
      const isNewUrl = after.url !== before.url;
      const isOpen = isNewUrl || before.challenge !== null;
      const state = disabled ? 'disabled' : isOpen ? 'unverified' : 'active';
      const disabledReason = disabled ? (before.disabledReason ?? 'operator') : null;
      await updateEndpoint(tx, before.id, after, { state, disabledReason });
      if (isNewUrl || (isOpen && turned && !disabled)) await this.#challenge(tx, before);
      if (disabled && isOpen) await pauseChallenge(tx, before.id);
      await auditEndpoint(
        tx,
        order,
        'webhook_endpoint.updated',
        { id: before.id, url: after.url },
        {
          changed: [...changed, ...(turned ? ['disabled'] : [])],
          host_before: hostOf(before.url),
          before: { ...told(before), disabled: before.state === 'disabled' },
          after: { ...told(after), disabled },
        },
      );
      return this.#again(tx, projectId, before.id);
    });
  }

  /** @returns the endpoint as it was @throws PortcullisError not_found, conflict (the etag) */
  delete(order: Change): Promise<Endpoint> {
    return inTransaction(this.#pool, async (tx) => {
      const endpoint = await lockedEndpoint(tx, order);
      await setEndpointDeleted(tx, endpoint.id, new URL(endpoint.url).origin);
      await auditEndpoint(tx, order, 'webhook_endpoint.deleted', endpoint, {});
      return endpoint;
    });
  }

  /**
   * Gives an endpoint another secret and another key pair; those before sign beside them for `secretOverlapMs`.
   * @throws PortcullisError not_found, conflict (one that was replaced before still signs)
   */
  rotate(order: Named & { readonly endOldNow: boolean }): Promise<WithSecret> {
    return inTransaction(this.#pool, async (tx) => {
      const before = await lockedEndpoint(tx, { ...order, etag: null });
      if (before.oldSecretUntil !== null && !order.endOldNow) {
        throw new PortcullisError(
          'conflict',
          `The secret before the last rotation signs until ${new Date(before.oldSecretUntil).toISOString()}: rotate after that, or end the old ones at once (end_old_now).`,
        );
      }
      await expireSecrets(tx, before.id, order.endOldNow ? 0 : secretOverlapMs);
      const secret = await this.#newSecret(tx, before.id);
      await touchEndpoint(tx, before.id);
      const endpoint = await this.#again(tx, order.projectId, before.id);
      const until = endpoint.oldSecretUntil === null ? null : new Date(endpoint.oldSecretUntil).toISOString();
      await auditEndpoint(tx, order, 'webhook_endpoint.rotated', endpoint, { old_secret_until: until });
      return { endpoint, secret };
    });
  }

  /** Sends the challenge again. @throws PortcullisError not_found, conflict (it is verified, or disabled) */
  verify(order: Named): Promise<Endpoint> {
    return inTransaction(this.#pool, async (tx) => {
      const endpoint = await lockedEndpoint(tx, { ...order, etag: null });
      if (endpoint.state !== 'unverified') {
        throw new PortcullisError('conflict', `The endpoint is ${endpoint.state}: there is nothing to verify.`);
      }
      await this.#challenge(tx, endpoint);
      await auditEndpoint(tx, order, 'webhook_endpoint.updated', endpoint, { changed: ['challenge'] });
      return this.#again(tx, order.projectId, endpoint.id);
    });
  }

  /** @param knownUrl was vetted before, and is not looked at again */
  #checked(
    { url, description, eventTypes: types, ratePerS, ordered }: AskedContent,
    knownUrl?: string,
  ): EndpointContent {
    return {
      url: url === knownUrl ? url : this.#vetted(url),
      description: checkLine('description', description, 0, 500),
      eventTypes: checkedTypes(types),
      ratePerS,
      ordered,
    };
  }

  /** What the URL says is judged here; what its name resolves to at each request (net/egress). */
  #vetted(url: string): string {
    try {
      return this.#egress.check(url).href;
    } catch (error) {
      if (error instanceof EgressError) throw invalid('url', `url cannot be used: ${error.message}`);
      throw error;
    }
  }

  async #newSecret(tx: Tx, endpointId: string): Promise<string> {
    const id = newId('whs');
    const { secret, sealed } = makeSecret(this.#sealing, id);
    await insertSecret(tx, { id, endpointId, sealed, publicKey: secret.publicKey });
    return hmacSecretText(secret);
  }

  #challenge(tx: Tx, { id: endpointId, projectId }: Endpoint): Promise<void> {
    return putChallenge(tx, { endpointId, projectId, id: newId('msg') }, challengeGapMs);
  }

  async #again(tx: Tx, projectId: string, id: string): Promise<Endpoint> {
    return required(await findEndpoint(tx, projectId, id), id);
  }
}

const contentNames = [
  'url',
  'description',
  'eventTypes',
  'ratePerS',
  'ordered',
] as const satisfies readonly (keyof EndpointContent)[];

/** What the audit log keeps of an endpoint beside its host. */
function told({ description, eventTypes: types, ratePerS, ordered }: EndpointContent) {
  return { description, event_types: [...types], rate_per_second: ratePerS, ordered };
}

/** Each once, in the order of the catalogue. @throws PortcullisError invalid_argument */
function checkedTypes(names: readonly string[]): EventType[] {
  const unknown = names.find((name) => !isEventType(name));
  if (unknown !== undefined) {
    throw invalid('event_types', `event_types has "${unknown.slice(0, 100)}", which is no type of the catalogue.`);
  }
  return eventTypes.filter((type) => names.includes(type));
}

async function lockedEndpoint(tx: Tx, { projectId, id, etag }: Change): Promise<Endpoint> {
  const endpoint = required(await lockEndpoint(tx, projectId, id), id);
  if (etag === null || etag === etagOf(endpoint)) return endpoint;
  throw new PortcullisError(
    'conflict',
    `The endpoint is not the one that this change was made from (etag "${etag.slice(0, 50)}"): somebody changed it, and its etag is "${etagOf(endpoint)}" now. Look at it, and make the change anew.`,
    { param: 'etag' },
  );
}

function required(endpoint: Endpoint | null, id: string): Endpoint {
  if (endpoint !== null) return endpoint;
  throw new PortcullisError('not_found', `There is no webhook endpoint ${id.slice(0, 100)} in this project.`);
}
