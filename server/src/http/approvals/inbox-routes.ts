import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Decider, findDecider } from '../../approval/deciders.ts';
import { hindranceFor } from '../../approval/deciding.ts';
import { selectWaitingFor } from '../../approval/inbox-store.ts';
import { tellLook } from '../../approval/links/views.ts';
import type { Approval } from '../../approval/model.ts';
import { demandsOf, type Hindrance } from '../../approval/rules.ts';
import { findApproval } from '../../approval/store.ts';
import { decisionFormBytesMax } from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import { personWhoCalls } from '../../identity/in-person.ts';
import { requireScope } from '../../identity/permission.ts';
import { type Freshness, freshnessOf } from '../../identity/sessions/fresh.ts';
import { csrfToken } from '../../identity/sessions/token.ts';
import { type Html, html } from '../pages/html.ts';
import { type Link, sendPage } from '../pages/layout.ts';
import { formField, registerPages } from '../pages/pages.ts';
import { noteRefusal } from '../refusal.ts';
import { askToSignIn, pageCaller, type PageCaller, signInPath } from '../sign-in/browser.ts';
import { requireOwnPage } from '../sign-in/place.ts';
import { approvalPage, approvalPath, type ApprovalView, decidedPage, inboxPath } from './approval-page.ts';
import { possible, readDecision } from './decision-input.ts';
import { inboxPage } from './inbox-page.ts';
import type { ApprovalPages } from './options.ts';
import { mayRepeat } from './repeats.ts';

const backToInbox: Link = { href: inboxPath, text: 'To what waits' };

/** Somebody who is signed in, as the person whom they are. */
interface Visitor {
  readonly caller: PageCaller;
  readonly person: Decider;
}

type Params = { Params: { id: string } };

/** Where people who are signed in see what waits for them, and decide. */
export async function registerInbox(app: FastifyInstance, options: ApprovalPages): Promise<void> {
  await registerPages(
    app,
    options.log,
    backToInbox,
    (scope) => {
      scope.get(inboxPath, async (request, reply) => {
        const visitor = await visitorOf(options, request, reply);
        if (!visitor) return askToSignIn(request, reply);
        const { person } = visitor;
        return sendPage(reply, 200, inboxPage(person.name, await selectWaitingFor(options.pool, person)));
      });
      scope.get<Params>(approvalPath(':id'), async (request, reply) => {
        const visitor = await visitorOf(options, request, reply);
        if (!visitor) return askToSignIn(request, reply);
        const approval = await requireShown(options, visitor, request.params.id);
        await tellLook(options.pool, approval, {
          personId: visitor.person.id,
          via: 'session',
          linkId: null,
          address: request.clientAddress,
          requestId: request.id,
        });
        return sendPage(reply, 200, approvalPage(await viewOf(options, visitor, approval)));
      });
      scope.post<Params>(approvalPath(':id'), async (request, reply) => {
        const visitor = await visitorOf(options, request, reply);
        if (!visitor) return askToSignIn(request, reply);
        const { caller } = visitor;
        requireOwnPage(request, caller.place, caller.token, formField(request, 'csrf'));
        return decide(options, visitor, await requireShown(options, visitor, request.params.id), request, reply);
      });
    },
    decisionFormBytesMax,
  );
}

async function decide(
  options: ApprovalPages,
  visitor: Visitor,
  approval: Approval,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  try {
    const decision = readDecision(request, approval);
    const { principal } = visitor.caller;
    const { result } = await options.approvals.decide({
      ...decision,
      by: { principal },
      projectId: approval.projectId,
    });
    const view = { approval: result, name: visitor.person.name, isSignedIn: true };
    return await sendPage(reply, 200, decidedPage(view, decision.action));
  } catch (thrown) {
    const error = PortcullisError.from(thrown);
    if (error.status >= 500 || error.status === 404 || error.status === 429) throw thrown;
    noteRefusal(request.access, error);
    // As it stands now: perhaps somebody else decided it.
    const now = await requireShown(options, visitor, approval.id);
    const view = { ...(await viewOf(options, visitor, now)), problem: error.message };
    return sendPage(reply, error.status, approvalPage(view));
  }
}

/**
 * Null where nobody is signed in.
 * @throws PortcullisError insufficient_scope, policy_denied for who is no person, or may decide nothing
 */
async function visitorOf(
  options: ApprovalPages,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Visitor | null> {
  const caller = await pageCaller(options, request, reply);
  if (!caller) return null;
  const { principal } = caller;
  requireScope(principal, 'approvals:decide');
  const personId = await personWhoCalls(options.pool, principal);
  const person = personId === null ? null : await findDecider(options.pool, personId);
  if (person) return { caller, person };
  throw new PortcullisError(
    'policy_denied',
    'People decide, each for themselves: sign in through the identity provider, or with a key that you made yourself.',
    { rule: 'approval.person' },
  );
}

/**
 * A request that this visitor may see: one of their own project, or one that they may decide.
 * @throws PortcullisError not_found
 */
async function requireShown({ pool }: ApprovalPages, { person }: Visitor, id: string): Promise<Approval> {
  const approval = await findApproval(pool, { id, projectId: null });
  const isShown =
    approval !== null &&
    (approval.projectId === person.projectId || (await hindranceFor(pool, approval, person)) === null);
  if (isShown) return approval;
  throw new PortcullisError('not_found', 'There is no such request for approval in this project.');
}

async function viewOf(options: ApprovalPages, { caller, person }: Visitor, approval: Approval): Promise<ApprovalView> {
  const { principal, token } = caller;
  const isOpen = approval.state === 'pending';
  const hindrance = isOpen ? await hindranceFor(options.pool, approval, person) : null;
  const freshness = demandsOf(approval).fresh ? await freshnessOf(options.pool, principal) : 'fresh';
  const mayDecide = isOpen && hindrance === null;
  return {
    approval,
    name: person.name,
    isSignedIn: true,
    isWhole: true,
    hindrance: hindrance !== null ? note(hindrances[hindrance]) : mayDecide ? freshNote(approval.id, freshness) : null,
    forms:
      mayDecide && freshness === 'fresh'
        ? {
            path: approvalPath(approval.id),
            proof: html`<input type="hidden" name="csrf" value="${csrfToken(token)}" />`,
            actions: possible(options, approval),
            mayRepeat: mayRepeat(approval),
          }
        : null,
  };
}

const hindrances: Readonly<Record<NonNullable<Hindrance>, string>> = {
  inactive: 'Your account here is disabled.',
  own: 'You asked for this yourself, or answer for the agent that did: somebody else decides it.',
  role: 'Your roles do not let you decide this.',
  group: 'Others decide this: you are in none of the groups that may.',
};

function freshNote(id: string, freshness: Freshness): Html | null {
  if (freshness === 'fresh') return null;
  return html`<div class="note">
    ${
      freshness === 'unknown'
        ? html`<p>
            This is of high risk, and your identity provider did not say when you proved who you are. Sign in anew;
            where that does not help, somebody else decides it, or an administrator has the provider send auth_time.
          </p>`
        : html`<p>This is of high risk: show once more that it is you, and decide it within ten minutes.</p>`
    }
    <p><a class="button" href="${signInPath(approvalPath(id), { anew: true })}">Sign in anew to decide</a></p>
  </div>`;
}

function note(sentence: string): Html {
  return html`<div class="note"><p>${sentence}</p></div>`;
}
