import { PortcullisError } from '../../base/errors.ts';
import type { Queryable } from '../../pg/tx.ts';
import { type Decider, findDecider, interestedIn } from '../deciders.ts';
import type { Approval } from '../model.ts';
import { hindranceOf } from '../rules.ts';
import { findApproval } from '../store.ts';
import { findLink, type LinkRecord } from './store.ts';
import { type LinkKeys, openLink } from './token.ts';

/** What somebody with a link that holds sees. */
export interface OpenedLink {
  readonly link: LinkRecord;
  readonly approval: Approval;
  readonly person: Decider;
}

/**
 * Whose link it is, and to what. Nothing changes by it.
 * @param approvalId of the page on which it is used: a link to another request is none here
 * @throws PortcullisError policy_denied where the link is not ours, is for something else, or its person may not decide any
 * more; conflict where it was used or has expired
 */
export async function openLinkTo(
  db: Queryable,
  keys: LinkKeys,
  approvalId: string,
  token: string,
): Promise<OpenedLink> {
  const claims = openLink(keys, token);
  // One sentence for all, so that nobody learns what of it was right.
  if (claims === null || claims.approvalId !== approvalId) throw notHeld('token');
  const link = await findLink(db, claims.jti);
  const isSame = link?.approvalId === approvalId && link.personId === claims.personId;
  if (!link || !isSame) throw notHeld('unknown');
  if (link.usedAt !== null) throw over('This link was used already: it decides once.', 'used');
  if (link.isExpired) throw over('This link has expired: ask for another one, or sign in.', 'expired');
  const approval = await findApproval(db, { id: approvalId, projectId: null });
  const person = await findDecider(db, link.personId);
  if (!approval || !person) throw notHeld('unknown');
  if (hindranceOf(person, approval, await interestedIn(db, approval)) !== null) {
    throw new PortcullisError('policy_denied', 'Whom this link was made for may not decide this any more.', {
      rule: 'approval.link.right',
    });
  }
  return { link, approval, person };
}

function notHeld(rule: string): PortcullisError {
  return new PortcullisError('policy_denied', 'This link does not hold: it is not whole, or not for this.', {
    rule: `approval.link.${rule}`,
  });
}

function over(sentence: string, rule: string): PortcullisError {
  return new PortcullisError('conflict', sentence, { rule: `approval.link.${rule}` });
}
