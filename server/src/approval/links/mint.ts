import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { linkSecondsDefault, linkSecondsMin, linksPerPersonMax } from '../../base/approval-limits.ts';
import type { Tx } from '../../pg/tx.ts';
import { type Decider, findDecider, interestedIn } from '../deciders.ts';
import type { Approval, DecisionAction } from '../model.ts';
import { hindranceOf } from '../rules.ts';
import { findApproval } from '../store.ts';
import { countLinks, insertLink } from './store.ts';
import { type LinkKeys, signLink } from './token.ts';

/** Where links lead. */
export function linkPath(approvalId: string): string {
  return `/v1/hitl/approve/${approvalId}`;
}

/** Whoever has a link made: a person who is here themselves, or a channel of ours that sends it to whom it is for. */
export type Minter = { readonly person: string; readonly address: string } | { readonly channel: string };

export interface LinkRequest {
  readonly approvalId: string;
  /** The one person whom it is for. */
  readonly personId: string;
  /** What they may do with it; what they may do at all where it is absent. */
  readonly actions?: readonly DecisionAction[];
  /** It ends with the request in any case. */
  readonly lifetimeS?: number;
  readonly by: Minter;
  readonly requestId: string | null;
}

export interface MintedLink {
  readonly id: string;
  /** The secret is in it: it is seen now, and never again. */
  readonly url: string;
  readonly person: Decider;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

const allActions: readonly DecisionAction[] = ['approve', 'reject', 'edit', 'respond'];

/** Makes links by which one person may decide one request. */
export class LinkMint {
  readonly #keys: LinkKeys;
  readonly #canSign: boolean;

  /** @param canSign whether there is a HITL_SECRET, and not only those before it */
  constructor(keys: LinkKeys, canSign: boolean) {
    this.#keys = keys;
    this.#canSign = canSign && keys.length > 0;
  }

  /** Whether there is a secret to sign with: without one no links are made. */
  get canMint(): boolean {
    return this.#canSign;
  }

  /**
   * @param origin where this server is for the person's browser, such as PUBLIC_URL
   * @throws PortcullisError conflict (it is decided; there are too many; no secret is set), not_found, policy_denied where the
   * person, or who mints it for them, may not decide it
   */
  async mint(tx: Tx, origin: string, request: LinkRequest): Promise<MintedLink> {
    if (!this.#canSign) throw noSecret();
    const approval = await findApproval(tx, { id: request.approvalId, projectId: null });
    if (approval === null) throw new PortcullisError('not_found', 'There is no such request for approval.');
    if (approval.state !== 'pending') throw decided();
    const person = await requireRights(tx, approval, request);
    if ((await countLinks(tx, approval.id, person.id)) >= linksPerPersonMax)
      throw new PortcullisError('conflict', `${linksPerPersonMax} links of this person to this request still hold.`);
    const { actions = allActions, lifetimeS = linkSecondsDefault, by } = request;
    const link = await insertLink(tx, {
      id: newId('lnk'),
      approvalId: approval.id,
      personId: person.id,
      actions,
      mintedBy: 'person' in by ? by.person : null,
      lifetimeS: Math.max(linkSecondsMin, lifetimeS),
    });
    if (link === null) throw decided();
    await appendAudit(tx, {
      actor: 'person' in by ? { kind: 'operator', id: by.person } : { kind: 'system', id: by.channel },
      action: 'approval.link_minted',
      target: approval.id,
      projectId: approval.projectId,
      requestId: request.requestId,
      payload: {
        link_id: link.id,
        person_id: person.id,
        actions: link.actions,
        expires_at: link.expiresAt,
        client_address: 'person' in by ? by.address : null,
      },
    });
    const token = signLink(this.#keys, {
      approvalId: approval.id,
      personId: person.id,
      actions: link.actions,
      expiresAtS: link.expiresAt / 1000,
      jti: link.id,
    });
    const url = `${origin.replace(/\/$/, '')}${linkPath(approval.id)}?token=${token}`;
    return { id: link.id, url, person, expiresAt: link.expiresAt };
  }
}

/** Whom it is for may decide, and so may whoever has it made: else they would decide in another's name what they may not in theirs. */
async function requireRights(tx: Tx, approval: Approval, { personId, by }: LinkRequest): Promise<Decider> {
  const interested = await interestedIn(tx, approval);
  const mayDecide = async (id: string) => {
    const person = await findDecider(tx, id);
    return person && hindranceOf(person, approval, interested) === null ? person : null;
  };
  const person = await mayDecide(personId);
  if (person === null) throw refused('The person may not decide this request: no link is made for them.', 'person');
  if ('person' in by && by.person !== personId && (await mayDecide(by.person)) === null)
    throw refused('You may not decide this request, so that you can make no link to it.', 'minter');
  return person;
}

function refused(sentence: string, rule: string): PortcullisError {
  return new PortcullisError('policy_denied', sentence, { rule: `approval.link.${rule}` });
}

function decided(): PortcullisError {
  return new PortcullisError('conflict', 'This request is decided already, or its time is over.');
}

function noSecret(): PortcullisError {
  return new PortcullisError('conflict', 'No links are made here: HITL_SECRET is not set. Decide it while signed in.', {
    rule: 'approval.link.secret',
  });
}
