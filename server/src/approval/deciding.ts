import type { JsonValue } from '../audit/canonical-json.ts';
import { appendAudit } from '../audit/append.ts';
import { approvalReasonCharsMax, approvalResponseCharsMax, approvalVotersMax } from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import { personWhoCalls } from '../identity/in-person.ts';
import { invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { requireScope } from '../identity/permission.ts';
import { isFreshlySignedIn } from '../identity/sessions/fresh.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import { checkArguments } from './arguments.ts';
import { type Decider, interestedIn, lockDeciders } from './deciders.ts';
import { insertGrant, type RepeatGrant, requireGrantable } from './grants.ts';
import { type Approval, type DecisionAction, type DecisionWay, digestInForce, whatInForce } from './model.ts';
import type { Editors } from './outcomes.ts';
import { type CountedVote, demandsOf, type Hindrance, hindranceOf, meets, outcomeOf } from './rules.ts';
import { end, type EndedBy } from './ending.ts';
import { announce, setEdited } from './store.ts';
import { shown } from './text.ts';
import { insertVote, selectVotes } from './vote-store.ts';
import { withArguments } from './what.ts';

/** Who decides: by a credential, or by a link that was sent to them. */
export type By =
  | { readonly principal: Principal }
  | { readonly link: { readonly id: string; readonly personId: string } };

/** What somebody decides. */
export interface Decision {
  readonly by: By;
  readonly requestId: string;
  readonly id: string;
  /** Null: of whatever project, for who was sent a link to this very approval. */
  readonly projectId: string | null;
  readonly action: DecisionAction;
  /** Why; what a rejected requester is told. */
  readonly reason: string;
  /** To respond: what the requester gets instead of the result. */
  readonly text: string | null;
  /** To edit: what the arguments are to be. */
  readonly editedArguments: JsonValue | undefined;
  /** The digest that they saw; needed once it was edited. */
  readonly seenDigest: Buffer | null;
  readonly grant: RepeatGrant | null;
  /** From where. */
  readonly address: string;
  /** Done first in the transaction of the decision: a link is consumed there. */
  readonly within?: (tx: Tx) => Promise<void>;
}

/** What became of a vote. */
export interface Voted {
  /** As it stands now; pending where more people must agree. */
  readonly approval: Approval;
  /** Whether this vote gave it its outcome. */
  readonly decided: boolean;
  readonly decider: Decider;
}

/** Who decides, and how they showed it. */
interface Voter {
  readonly personId: string;
  readonly way: DecisionWay;
  readonly isFresh: boolean;
}

/** @throws PortcullisError invalid_argument */
export function checkDecision({ action, reason, text, editedArguments, grant }: Decision): void {
  if (reason.length > approvalReasonCharsMax)
    throw invalid('reason', `reason must be at most ${approvalReasonCharsMax} characters.`);
  if ((text !== null) !== (action === 'respond') || text?.trim() === '')
    throw invalid('response', 'response is what the requester gets instead: give it to respond, and not else.');
  if (text !== null && text.length > approvalResponseCharsMax)
    throw invalid('response', `response must be at most ${approvalResponseCharsMax} characters.`);
  if ((editedArguments !== undefined) !== (action === 'edit'))
    throw invalid('edited_arguments', 'edited_arguments are what runs instead: give them to edit, and not else.');
  if (grant !== null && action !== 'approve')
    throw invalid('grant', 'grant is of what is approved as it was asked: leave it out.');
}

/**
 * Casts a vote on a request that is locked and pending, and ends it where that decides. The person's row is locked, so that
 * what they may do does not change until the transaction ends.
 * @throws PortcullisError insufficient_scope, policy_denied (who may not decide this, or not so), conflict (voted, edited,
 * overdue), and what the editor of the kind throws
 */
export async function vote(tx: Tx, approval: Approval, decision: Decision, editors: Editors): Promise<Voted> {
  const { action } = decision;
  const voter = await voterOf(tx, decision.by);
  const decider = await requireDecider(tx, approval, voter);
  requireSeen(approval, decision);
  if (decision.grant) requireGrantable(approval, decision.grant);
  const standing = action === 'edit' ? await edit(tx, approval, decision, editors) : approval;
  const digest = digestInForce(standing);
  const reason = shown(decision.reason.trim(), approvalReasonCharsMax);
  const { personId, way: via } = voter;
  const cast = { approvalId: approval.id, personId, digest, action, via, reason, address: decision.address };
  if (!(await insertVote(tx, cast)))
    throw new PortcullisError('conflict', 'You voted on this already, or its time is over: nothing was changed.');
  const votes = await countedVotes(tx, standing);
  const outcome = outcomeOf(
    action,
    { quorum: standing.quorum, isEdited: standing.editedDigest !== null },
    votes,
    digest,
  );
  const by = endedBy(decision, decider, voter);
  if (outcome === null) return { approval: await counted(tx, standing, by), decided: false, decider };
  const response = decision.text === null ? null : shown(decision.text, approvalResponseCharsMax);
  const how = { id: approval.id, state: outcome, decidedBy: personId, decidedVia: via, reason, response };
  const ended = await end(tx, how, by);
  if (!ended) throw new PortcullisError('conflict', 'The time of this request is over: no answer is a no.');
  if (decision.grant) await grantAgain(tx, ended, decision.grant, personId, by);
  return { approval: ended, decided: true, decider };
}

async function voterOf(tx: Tx, by: By): Promise<Voter> {
  if ('link' in by) return { personId: by.link.personId, way: 'link', isFresh: false };
  const { principal } = by;
  requireScope(principal, 'approvals:decide');
  const personId = await personWhoCalls(tx, principal);
  if (personId === null) {
    throw refusal(
      'person',
      'People decide, each for themselves: sign in, or use a key that you made yourself. A shared or issued key will not do.',
    );
  }
  const way = principal.sessionId === undefined ? 'key' : 'session';
  return { personId, way, isFresh: await isFreshlySignedIn(tx, principal) };
}

/** @throws PortcullisError policy_denied */
async function requireDecider(tx: Tx, approval: Approval, { personId, way, isFresh }: Voter): Promise<Decider> {
  const [decider] = await lockDeciders(tx, [personId]);
  if (!decider) throw refusal('person', 'You are nobody whom this gate knows any more.');
  const hindrance = hindranceOf(decider, approval, await interestedIn(tx, approval));
  if (hindrance !== null) throw refusal(hindrance, hindrances[hindrance]);
  const demands = demandsOf(approval);
  if (meets(demands, way, isFresh)) return decider;
  throw demands.fresh
    ? refusal('fresh', 'This is of high risk: sign in anew in a browser, and decide it there within ten minutes.')
    : refusal(
        'session',
        'Several people decide this: sign in in a browser, and decide it there. Neither a link nor a key will do.',
      );
}

const hindrances: Readonly<Record<NonNullable<Hindrance>, string>> = {
  inactive: 'Your account here is disabled.',
  own: 'You asked for this yourself, or answer for the agent that did: somebody else decides it.',
  role: 'Your roles do not let you decide: that takes the role approver, or admin.',
  group: 'Others decide this: you are in none of the groups that may.',
};

function refusal(rule: string, sentence: string): PortcullisError {
  return new PortcullisError('policy_denied', sentence, { rule: `approval.${rule}` });
}

/** What somebody decides is what they saw. @throws PortcullisError conflict */
function requireSeen(approval: Approval, { seenDigest, action }: Decision): void {
  if (seenDigest?.equals(digestInForce(approval))) return;
  const isNo = action === 'reject' || action === 'respond';
  if (seenDigest === null && (approval.editedDigest === null || isNo)) return;
  throw new PortcullisError(
    'conflict',
    'It was edited since you saw it: look again, and say which digest you decide on.',
  );
}

/** @throws PortcullisError conflict (it cannot be edited, or is over), and what the editor throws */
async function edit(tx: Tx, approval: Approval, decision: Decision, editors: Editors): Promise<Approval> {
  const editor = editors[approval.kind];
  if (!editor || decision.editedArguments === undefined)
    throw new PortcullisError(
      'conflict',
      `What is asked for here (${approval.kind}) cannot be edited: approve or reject it.`,
    );
  const checked = checkArguments('edited_arguments', decision.editedArguments);
  const edited = withArguments(approval.what, checkArguments('edited_arguments', await editor(tx, approval, checked)));
  if (edited.what === whatInForce(approval))
    throw invalid('edited_arguments', 'edited_arguments are what was asked for: approve it instead.');
  const standing = await setEdited(tx, approval.id, edited);
  if (standing) return standing;
  throw new PortcullisError('conflict', 'The time of this request is over: no answer is a no.');
}

/** Votes of people who may decide now: who lost the right since they voted no longer counts. */
async function countedVotes(tx: Tx, approval: Approval): Promise<CountedVote[]> {
  const votes = await selectVotes(tx, approval.id, approvalVotersMax);
  const people = await lockDeciders(tx, [...new Set(votes.map(({ personId }) => personId))]);
  const interested = await interestedIn(tx, approval);
  const entitled = new Map(
    people.filter((person) => hindranceOf(person, approval, interested) === null).map((person) => [person.id, person]),
  );
  return votes.flatMap(({ personId, digest, action }) => {
    const email = entitled.get(personId)?.email;
    return email === undefined ? [] : [{ personId, email, digest, action }];
  });
}

/** A vote that does not decide yet is written down too. */
async function counted(tx: Tx, approval: Approval, by: EndedBy): Promise<Approval> {
  await appendAudit(tx, {
    actor: by.actor,
    action: 'approval.voted',
    target: approval.id,
    projectId: approval.projectId,
    requestId: by.requestId,
    payload: { digest: digestInForce(approval).toString('hex'), ...by.details },
  });
  await announce(tx, approval.id);
  return approval;
}

async function grantAgain(
  tx: Tx,
  approval: Approval,
  grant: RepeatGrant,
  personId: string,
  by: EndedBy,
): Promise<void> {
  await insertGrant(tx, approval, personId, grant);
  await appendAudit(tx, {
    actor: by.actor,
    action: 'approval.granted',
    target: approval.id,
    projectId: approval.projectId,
    requestId: by.requestId,
    payload: { uses: grant.uses, within_ms: grant.withinMs, any_arguments: grant.anyArguments },
  });
}

function endedBy({ by, requestId, action, address }: Decision, decider: Decider, { way }: Voter): EndedBy {
  const link = 'link' in by ? by.link.id : null;
  const details = { action, via: way, link_id: link, client_address: address, email: decider.email };
  return { actor: { kind: 'operator', id: decider.id }, requestId, details };
}

/** Whether somebody who looks at a request may decide it, and why not. For pages: it is looked at again when they do. */
export async function hindranceFor(db: Queryable, approval: Approval, decider: Decider): Promise<Hindrance> {
  return hindranceOf(decider, approval, await interestedIn(db, approval));
}
