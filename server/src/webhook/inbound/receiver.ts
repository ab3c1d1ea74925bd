import { createHash } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../../base/clock.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import {
  webhookHeaderCharsMax,
  webhookIdCharsMax,
  webhookParsedBytesMax,
  webhookTypeCharsMax,
} from '../../base/inbound-limits.ts';
import type { Metrics } from '../../base/metrics.ts';
import { findProjectByName } from '../../identity/project-store.ts';
import { isUnavailable } from '../../pg/errors.ts';
import { inTransaction } from '../../pg/tx.ts';
import type { Bodies } from './bodies.ts';
import { findCallback } from './callback-store.ts';
import { callbackKey, eventKeys } from './keys.ts';
import type { Callback, EventState, NewEvent, Proof, ReceivedHeaders, Refusal } from './model.ts';
import { parseJson, textAt } from './pointer.ts';
import type { WebhookRefusals } from './refusals.ts';
import { isRefusal } from './schemes/header.ts';
import type { Source, Sources } from './sources.ts';
import { findKnown, insertEvent, takeKeys } from './store.ts';

/** A webhook as it arrives; its body is not read yet. */
export interface Arrival {
  readonly source: string;
  /** The last part of the path, where there is one. */
  readonly token: string | null;
  readonly headers: ReceivedHeaders;
  readonly address: string;
  /** Reads the body, up to a bound. @throws PortcullisError payload_too_large, invalid_argument, unavailable */
  readonly body: (bytesMax: number) => Promise<Buffer>;
}

/** What to answer: taken (202), known already (200), or the text that a handshake asks for. */
export type Taken =
  | { readonly kind: 'accepted'; readonly id: string; readonly state: EventState }
  | { readonly kind: 'duplicate'; readonly id: string; readonly state: EventState | null }
  | { readonly kind: 'handshake'; readonly text: string };

export interface ReceiverParts {
  readonly pool: Pool;
  readonly sources: Sources;
  readonly bodies: Bodies;
  readonly refusals: WebhookRefusals;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'webhookEvents' | 'webhookVerify'>;
  /** Whether no more can wait. */
  readonly isFull: () => boolean;
  /** There is something to be done. */
  readonly wake: () => void;
}

/** An event that is proven to be its sender's, before it is known whether it is new. */
interface Proven {
  readonly source: Source;
  readonly proof: Proof;
  readonly callback: Callback | null;
  readonly headers: ReceivedHeaders;
  readonly body: Buffer;
}

// Of use whoever sends; none of them is a secret.
const keptAlways = ['content-type', 'user-agent'];

/**
 * Takes webhooks: verifies first, and writes only what was verified, with its job, in one transaction. What does not hold is
 * counted, and nothing else.
 */
export class WebhookReceiver {
  readonly #parts: ReceiverParts;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
  }

  /**
   * @throws PortcullisError not_found (no such source), unauthenticated (what proves it is missing, wrong or too old; all are one to
   * the sender), unavailable (too much waits, or the database is away)
   */
  async receive(arrival: Arrival): Promise<Taken> {
    const { sources, isFull, clock } = this.#parts;
    const source = sources.get(arrival.source);
    if (!source || (source.scheme === null) !== (arrival.token !== null)) {
      this.#refuse('', { status: 'unknown_source', reason: 'unknown_source' }, arrival.address);
      throw new PortcullisError('not_found', 'There is no such source of webhooks.');
    }
    const proven = source.scheme ? await this.#verify(source, arrival) : await this.#findPath(source, arrival);
    if (isRefusal(proven)) {
      this.#refuse(source.name, proven, arrival.address);
      throw new PortcullisError('unauthenticated', 'This webhook is not proven to be from its source.', {
        internal: `webhook ${source.name}: ${proven.status}, ${proven.reason}`,
      });
    }
    this.#parts.metrics.webhookVerify.inc({ source: source.name, signature_status: 'valid' });
    const { options, scheme } = source;
    const content = proven.body.length > webhookParsedBytesMax ? undefined : parseJson(proven.body);
    const challenge = scheme?.handshake?.(content) ?? null;
    if (challenge !== null) return { kind: 'handshake', text: challenge.slice(0, webhookHeaderCharsMax) };
    if (isFull())
      throw new PortcullisError('unavailable', 'Too many webhooks wait to be processed.', { retryAfterS: 30 });
    const projectId = proven.callback?.projectId ?? (await this.#projectId(options.project));
    return this.#record(this.#event(proven, content, projectId, clock.now()), proven, content);
  }

  async #verify(source: Source, { headers, body: read }: Arrival): Promise<Proven | Refusal> {
    const { scheme, options } = source;
    const judge = scheme?.prepare(headers, this.#parts.clock.now() / 1000) ?? null;
    if (judge === null) throw new Error('a source without a scheme was verified by it');
    if (isRefusal(judge)) return judge;
    const body = await read(options.body_bytes_max);
    const proof = judge(body);
    return proof ? { source, proof, callback: null, headers, body } : { status: 'invalid', reason: 'wrong_signature' };
  }

  /** The path is the proof, as far as one goes: what came by it is asked of the sender before it is believed. */
  async #findPath(source: Source, { token, headers, body: read }: Arrival): Promise<Proven | Refusal> {
    const hash = createHash('sha256')
      .update(token ?? '')
      .digest();
    const callback = await findCallback(this.#parts.pool, source.name, hash).catch(asUnavailable);
    if (!callback) return { status: 'invalid', reason: 'unknown_path' };
    const body = await read(source.options.body_bytes_max);
    return { source, proof: { id: '', known: [] }, callback, headers, body };
  }

  #event(
    { source, proof, callback, headers, body }: Proven,
    content: unknown,
    projectId: string,
    now: number,
  ): NewEvent {
    const { name, options, scheme } = source;
    const id = newId('inb', now);
    const types = options.type === undefined ? (scheme?.typePointers ?? []) : [options.type];
    const ofHeader = scheme?.typeHeader === undefined ? '' : (headers[scheme.typeHeader]?.[0] ?? '');
    const type = types.map((pointer) => textAt(content, pointer)).find((text) => text !== null) ?? ofHeader;
    const kept = [...keptAlways, ...(scheme?.keptHeaders ?? []), ...options.headers];
    return {
      id,
      projectId,
      source: name,
      providerEventId: line(proof.id || idInBody(source, content), webhookIdCharsMax),
      type: line(type, webhookTypeCharsMax),
      runId: callback?.runId ?? null,
      callbackId: callback?.id ?? null,
      contentType: line(headers['content-type']?.[0] ?? '', webhookTypeCharsMax),
      headers: Object.fromEntries(
        kept.flatMap((header) =>
          headers[header] ? [[header, line(headers[header].join(', '), webhookHeaderCharsMax)]] : [],
        ),
      ),
      body: this.#parts.bodies.store(id, body, options.seal),
      bodyBytes: body.length,
      sealed: options.seal,
      receivedAt: now,
    };
  }

  async #record(event: NewEvent, { source, proof, callback, body }: Proven, content: unknown): Promise<Taken> {
    const { pool, metrics, wake } = this.#parts;
    const keys = callback ? callbackKey(callback.id, body) : eventKeys(proof, idInBody(source, content));
    // A duplicate writes nothing.
    const known = (await findKnown(pool, source.name, keys).catch(asUnavailable)) ?? (await this.#write(event, keys));
    metrics.webhookEvents.inc({ source: source.name, status: known === null ? 'accepted' : 'duplicate' });
    if (known !== null) return { kind: 'duplicate', ...known };
    wake();
    return { kind: 'accepted', id: event.id, state: 'pending' };
  }

  /** @returns the event that another delivery wrote at the same time; null where this one is written */
  async #write(event: NewEvent, keys: readonly Buffer[]): Promise<{ id: string; state: EventState | null } | null> {
    const { pool } = this.#parts;
    const written = await inTransaction(pool, async (tx) => {
      if ((await takeKeys(tx, event, keys)) < keys.length) throw new Known();
      await insertEvent(tx, event);
      return null;
    }).catch((error: unknown) => (error instanceof Known ? error : asUnavailable(error)));
    if (written === null) return null;
    const known = await findKnown(pool, event.source, keys).catch(asUnavailable);
    if (known) return known;
    // Its keys were forgotten in between: the sender tries again.
    throw new PortcullisError('unavailable', 'This webhook could not be told from another: send it again.', {
      retryAfterS: 1,
    });
  }

  async #projectId(name: string): Promise<string> {
    const found = await findProjectByName(this.#parts.pool, name).catch(asUnavailable);
    if (found) return found.id;
    throw new PortcullisError('unavailable', 'The project of this source is not there: its operator must make it.', {
      internal: `webhook source: there is no project "${name}"`,
      retryAfterS: 60,
    });
  }

  #refuse(source: string, refusal: Refusal | { status: 'unknown_source'; reason: string }, address: string): void {
    const { refusals, metrics, clock } = this.#parts;
    refusals.add(source, refusal, address, clock.now());
    metrics.webhookVerify.inc({ source: source || 'unknown', signature_status: refusal.status });
    metrics.webhookEvents.inc({ source: source || 'unknown', status: 'refused' });
  }
}

/** Thrown to undo what was begun. */
class Known extends Error {}

function idInBody({ options, scheme }: Source, content: unknown): string {
  const pointer = options.event_id ?? scheme?.idPointer;
  return pointer === undefined ? '' : (textAt(content, pointer) ?? '');
}

/** One line of what others wrote, that PostgreSQL can keep. */
function line(text: string, charsMax: number): string {
  return text
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{FFFD}')
    .toWellFormed()
    .slice(0, charsMax)
    .toWellFormed();
}

/** @throws PortcullisError unavailable, where the database could not do it now, or what was thrown */
function asUnavailable(error: unknown): never {
  if (!isUnavailable(error)) throw error;
  throw new PortcullisError('unavailable', 'Webhooks cannot be kept now: send it again.', {
    retryAfterS: 5,
    cause: error,
  });
}
