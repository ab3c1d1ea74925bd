import type { Pool } from 'pg';
import {
  approvalMessageLeaseMs,
  approvalMessagePausesMs,
  approvalMessagesAtOnceMax,
  approvalPeopleToldMax,
} from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import { type Decider, findDecider, interestedIn, peopleWhoMayDecide } from '../deciders.ts';
import type { LinkMint } from '../links/mint.ts';
import type { Approval } from '../model.ts';
import { claimNotices, endNotice, type Notice } from '../notices.ts';
import { demandsOf, hindranceOf, isIn, sameAddress } from '../rules.ts';
import { findApproval } from '../store.ts';
import type { Channel, Lead, Message, Sent } from './model.ts';
import { claimMessages, endMessage, insertMessages, postponeMessage } from './store.ts';

export interface MessengerOptions {
  readonly pool: Pool;
  readonly mint: Pick<LinkMint, 'canMint' | 'mint'>;
  readonly channels: readonly Channel[];
  /** Where this server is for people's browsers. */
  readonly origin: string;
  /** The page of a request, for those who sign in. */
  readonly pagePath: (approvalId: string) => string;
  readonly log: Logger;
  readonly onTry: (channel: 'email' | 'chat', outcome: Sent['outcome']) => void;
}

/** What a message needs when it leaves. */
interface Ready {
  readonly approval: Approval;
  readonly lead: Lead;
  readonly person: Decider | null;
}

/**
 * Tells people of requests for approval (decision 0033). Notices become rows, one a channel and person, and rows become messages: each
 * step is taken up by any process where another left it, so that a message may come twice, and none is lost.
 */
export class Messenger {
  readonly #options: MessengerOptions;
  readonly #stopping = new AbortController();

  constructor(options: MessengerOptions) {
    this.#options = options;
  }

  get channels(): readonly Channel[] {
    return this.#options.channels;
  }

  /** Makes rows of the notices that are due. */
  async spread(): Promise<void> {
    const { pool, log } = this.#options;
    for (const notice of await claimNotices(pool, approvalMessagesAtOnceMax, approvalMessageLeaseMs)) {
      try {
        await inTransaction(pool, (tx) => this.#address(tx, notice));
      } catch (err) {
        // It is taken up again when this claim ends, and keeps no other waiting.
        log.error({ approval: notice.approvalId, err }, 'nobody could be told of an approval');
      }
    }
  }

  /** Sends what is due of one channel: how slow it is makes no other wait. */
  async send(channel: Channel): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const claimed = await claimMessages(
      this.#options.pool,
      channel.name,
      approvalMessagesAtOnceMax,
      approvalMessageLeaseMs,
    );
    await Promise.all(claimed.map((message) => this.#sendOne(channel, message)));
  }

  /** Gives up what is being sent: it is tried again by whoever comes. */
  stop(): void {
    this.#stopping.abort();
  }

  async #address(tx: Tx, notice: Notice): Promise<void> {
    await endNotice(tx, notice);
    const approval = await findApproval(tx, { id: notice.approvalId, projectId: null });
    if (approval?.state !== 'pending') return;
    const { groups } = notice;
    const deciders = await peopleWhoMayDecide(tx, approval, approvalPeopleToldMax);
    const meant = deciders.filter((person) => groups.some((group) => isIn(person, group, approval.projectId)));
    const of = { approvalId: approval.id, requesterId: approval.requester.id };
    for (const { name, audience } of this.#options.channels) {
      const people = readersOf(audience, approval, groups, meant);
      if (people.length > 0) await insertMessages(tx, of, name, people);
    }
  }

  async #sendOne(channel: Channel, message: Message): Promise<void> {
    const { pool, log, onTry } = this.#options;
    const about = { approval: message.approvalId, channel: channel.name, try: message.tries };
    try {
      const ready = await inTransaction(pool, (tx) => this.#prepare(tx, channel, message));
      if (ready === null) return await endMessage(pool, message, 'dropped', 'nobody needs it any more');
      const sent = await channel.send(ready.approval, ready.lead, ready.person, this.#stopping.signal);
      onTry(channel.name === 'email' ? 'email' : 'chat', sent.outcome);
      if (sent.outcome !== 'sent') log.warn({ ...about, why: sent.note }, 'a message about an approval was not sent');
      await this.#end(message, sent);
    } catch (err) {
      log.error({ ...about, err }, 'a message about an approval could not be sent');
      // Its row is taken up again when this claim ends.
    }
  }

  async #end(message: Message, sent: Sent): Promise<void> {
    const { pool } = this.#options;
    if (sent.outcome === 'sent') return await endMessage(pool, message, 'sent', '');
    if (sent.outcome === 'failed') return await endMessage(pool, message, 'failed', sent.note);
    const pause = approvalMessagePausesMs[message.tries - 1];
    if (pause === undefined) return await endMessage(pool, message, 'failed', sent.note);
    await postponeMessage(pool, message, sent.note, sent.afterMs ?? pause);
  }

  /** Looks once more whether the request waits and the person may decide it; null where the message has no use. */
  async #prepare(tx: Tx, channel: Channel, { approvalId, personId }: Message): Promise<Ready | null> {
    const approval = await findApproval(tx, { id: approvalId, projectId: null });
    if (approval?.state !== 'pending') return null;
    if (personId === null) return { approval, lead: this.#page(approval), person: null };
    const person = await findDecider(tx, personId);
    const mayDecide = person !== null && hindranceOf(person, approval, await interestedIn(tx, approval)) === null;
    if (!mayDecide) return null;
    return { approval, person, lead: await this.#leadFor(tx, channel, approval, person) };
  }

  async #leadFor(tx: Tx, channel: Channel, approval: Approval, person: Decider): Promise<Lead> {
    const { mint, origin } = this.#options;
    // What takes a session is decided on the page: no link that is sent can be more than its reader's word.
    if (demandsOf(approval).session || !mint.canMint) return this.#page(approval);
    try {
      const { url, expiresAt } = await mint.mint(tx, origin, {
        approvalId: approval.id,
        personId: person.id,
        by: { channel: channel.name },
        requestId: null,
      });
      return { url, decides: true, endsAt: expiresAt };
    } catch (error) {
      // So many links of theirs hold that no more are made.
      if (error instanceof PortcullisError && error.code === 'conflict') return this.#page(approval);
      throw error;
    }
  }

  #page(approval: Approval): Lead {
    const { origin, pagePath } = this.#options;
    return { url: origin + pagePath(approval.id), decides: false, endsAt: approval.expiresAt };
  }
}

/** Who of a channel gets a message of their own; null in it stands for its readers. */
function readersOf(
  audience: Channel['audience'],
  approval: Approval,
  groups: readonly string[],
  meant: readonly Decider[],
): (string | null)[] {
  if (audience.kind === 'everyone') return meant.map(({ id }) => id);
  if (audience.projectId !== approval.projectId) return [];
  if (audience.kind === 'person') {
    return meant.filter(({ email }) => sameAddress(email, audience.email)).map(({ id }) => id);
  }
  const isFor = audience.groups.length === 0 || audience.groups.some((group) => groups.includes(group));
  return isFor ? [null] : [];
}
