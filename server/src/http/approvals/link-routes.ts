import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { decisionFormBytesMax, linkRequestsPerMinute } from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import { linkPath } from '../../approval/links/mint.ts';
import { type OpenedLink, openLinkTo } from '../../approval/links/open.ts';
import { useLink } from '../../approval/links/store.ts';
import { tellLook } from '../../approval/links/views.ts';
import { demandsOf } from '../../approval/rules.ts';
import { html } from '../pages/html.ts';
import { type Link, type Page, sendPage } from '../pages/layout.ts';
import { formField, registerPages } from '../pages/pages.ts';
import { takeTurn } from '../rates.ts';
import { signInPath } from '../sign-in/browser.ts';
import { placeOf } from '../sign-in/place.ts';
import { approvalPage, approvalPath, decidedPage, inboxPath } from './approval-page.ts';
import { possible, readDecision } from './decision-input.ts';
import { mayRepeat } from './repeats.ts';
import type { ApprovalPages } from './options.ts';

const backToInbox: Link = { href: inboxPath, text: 'Sign in to see what waits' };

/**
 * The page behind a signed link. Looking at it, by GET or HEAD, decides nothing, since mail scanners and previews open links;
 * its form does, by POST, with the token in it. There is no session here: whoever has the link is its person, which is why it
 * is not enough for what is grave.
 */
export async function registerLinkPages(app: FastifyInstance, options: ApprovalPages): Promise<void> {
  await registerPages(
    app,
    options.log,
    backToInbox,
    (scope) => {
      // The token is in the address of the page: nothing that it loads or leads to is told of it.
      scope.addHook('onSend', async (_request, reply) => {
        reply.headers({ 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' });
      });
      scope.get<{ Params: { id: string }; Querystring: { token?: unknown } }>(
        linkPath(':id'),
        async (request, reply) => {
          const { token } = request.query;
          return show(options, request.params.id, typeof token === 'string' ? token : '', request, reply);
        },
      );
      scope.post<{ Params: { id: string } }>(linkPath(':id'), { config: { originIsHidden: true } }, (request, reply) =>
        decide(options, request.params.id, request, reply),
      );
    },
    decisionFormBytesMax,
  );
}

async function show(
  options: ApprovalPages,
  id: string,
  token: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  takeTurn(options, request, 'approval_link', linkRequestsPerMinute);
  const { pool, linkKeys } = options;
  const opened = await openLinkTo(pool, linkKeys, id, token);
  const { approval, person, link } = opened;
  await tellLook(pool, approval, {
    personId: person.id,
    via: 'link',
    linkId: link.id,
    address: request.clientAddress,
    requestId: request.id,
  });
  return sendPage(reply, 200, linkPage(options, opened, token));
}

function linkPage(options: ApprovalPages, { approval, person, link }: OpenedLink, token: string): Page {
  const needsSession = demandsOf(approval).session;
  const isOpen = approval.state === 'pending';
  return approvalPage({
    approval,
    name: person.name,
    isSignedIn: false,
    isWhole: !needsSession,
    hindrance: isOpen && needsSession ? needsSessionNote(approval.id) : null,
    forms:
      isOpen && !needsSession
        ? {
            path: linkPath(approval.id),
            proof: html`<input type="hidden" name="token" value="${token}" />`,
            actions: possible(options, approval, link.actions),
            mayRepeat: mayRepeat(approval),
          }
        : null,
  });
}

function needsSessionNote(id: string) {
  return html`<div class="note">
    <p>A link is not enough for this: it may have been forwarded. Sign in yourself to see all of it and to decide.</p>
    <p><a class="button" href="${signInPath(approvalPath(id))}">Sign in to decide</a></p>
  </div>`;
}

async function decide(
  options: ApprovalPages,
  id: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  takeTurn(options, request, 'approval_link', linkRequestsPerMinute);
  requireFromHere(request, placeOf(request, options.publicUrl).origin);
  const { approval, person, link } = await openLinkTo(options.pool, options.linkKeys, id, formField(request, 'token'));
  const decision = readDecision(request, approval);
  const { result: decided } = await options.approvals.decide({
    ...decision,
    by: { link: { id: link.id, personId: person.id } },
    projectId: null,
    within: async (tx) => {
      if (await useLink(tx, link, decision.action)) return;
      throw new PortcullisError('conflict', 'This link was used already, has expired, or does not allow this.', {
        rule: 'approval.link.used',
      });
    },
  });
  return sendPage(
    reply,
    200,
    decidedPage({ approval: decided, name: person.name, isSignedIn: false }, decision.action),
  );
}

/**
 * That a browser sends the form from a page of ours. Such a page says no-referrer, so that the origin may be `null`; what
 * proves that the person meant it is the token, which no other page knows.
 * @throws PortcullisError origin_denied
 */
function requireFromHere({ headers }: FastifyRequest, origin: string): void {
  const site = headers['sec-fetch-site'];
  const isOwn = headers.origin === undefined || headers.origin === 'null' || headers.origin.toLowerCase() === origin;
  if (isOwn && (site === undefined || site === 'same-origin')) return;
  throw new PortcullisError('origin_denied', 'A browser must send this from a page of this server.', {
    rule: 'approval.link.origin',
  });
}
