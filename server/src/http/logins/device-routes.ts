import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import { userCodesPerAddressPerMinute, userCodesPerMinute } from '../../base/limits.ts';
import { requirePerson, type WaitingRequest } from '../../identity/logins/device-service.ts';
import { grantedScopes } from '../../identity/logins/granted-scopes.ts';
import { findProject } from '../../identity/project-store.ts';
import { csrfToken } from '../../identity/sessions/token.ts';
import { takeOne, takeTurn } from '../rates.ts';
import { noteRefusal } from '../refusal.ts';
import { askToSignIn, pageCaller, type PageCaller } from '../sign-in/browser.ts';
import { sendPage } from '../pages/layout.ts';
import { formField, registerPages } from '../pages/pages.ts';
import { requireOwnPage } from '../sign-in/place.ts';
import { backToSignIn } from '../sign-in/sign-in-page.ts';
import { codePage, confirmPage, decidedPage } from './device-page.ts';
import { devicePath, type LoginOptions } from './options.ts';

/** The page on which a person confirms the login of a command line (RFC 8628, section 3.3). */
export async function registerDevicePage(app: FastifyInstance, options: LoginOptions): Promise<void> {
  await registerPages(app, options.log, backToSignIn, (scope) => {
    scope.get<{ Querystring: { user_code?: unknown } }>(devicePath, async (request, reply) => {
      const caller = await pageCaller(options, request, reply);
      if (!caller) return askToSignIn(request, reply);
      requirePerson(caller.principal);
      const { user_code: typed } = request.query;
      if (typeof typed !== 'string' || typed === '') return sendCodePage(caller, reply, null);
      return showRequest(options, caller, typed, request, reply);
    });
    scope.post(devicePath, async (request, reply) => {
      const caller = await pageCaller(options, request, reply);
      if (!caller) return askToSignIn(request, reply);
      requireOwnPage(request, caller.place, caller.token, formField(request, 'csrf'));
      requirePerson(caller.principal);
      const typed = formField(request, 'user_code');
      const decision = formField(request, 'decision');
      if (decision !== 'approve' && decision !== 'deny') return showRequest(options, caller, typed, request, reply);
      return decide(options, caller, typed, decision === 'approve', request, reply);
    });
  });
}

async function showRequest(
  options: LoginOptions,
  caller: PageCaller,
  typed: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  takeGuess(options, caller, request);
  const waiting = await options.devices.find(typed);
  if (!waiting) return wrongCode(caller, request, reply);
  return sendConfirmPage(options, caller, waiting, request, reply);
}

async function decide(
  options: LoginOptions,
  caller: PageCaller,
  typed: string,
  isApproved: boolean,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  takeGuess(options, caller, request);
  const { principal } = caller;
  const decided = await options.devices.decide(principal, request.id, typed, isApproved);
  if (!decided) return wrongCode(caller, request, reply);
  return sendPage(reply, 200, decidedPage(principal.name, isApproved, decided.clientName));
}

async function sendConfirmPage(
  { pool }: LoginOptions,
  { principal, token }: PageCaller,
  waiting: WaitingRequest,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const page = confirmPage({
    name: principal.name,
    csrf: csrfToken(token),
    waiting,
    scopes: grantedScopes(waiting.scopes, principal.scopes),
    project: (await findProject(pool, principal.projectId))?.name ?? principal.projectId,
    here: request.clientAddress,
  });
  return sendPage(reply, 200, page);
}

function wrongCode(caller: PageCaller, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  noteRefusal(request.access, new PortcullisError('not_found', 'No login waits under this code.'));
  const sentence = 'No login waits under this code: it is mistyped, or over. Run portcullis login again.';
  return sendCodePage(caller, reply, sentence);
}

function sendCodePage({ principal, token }: PageCaller, reply: FastifyReply, problem: string | null): FastifyReply {
  const page = codePage({ name: principal.name, csrf: csrfToken(token), problem });
  return sendPage(reply, problem === null ? 200 : 404, page);
}

/** Each look at a code counts, right or wrong, and before it is looked up: a code has few bits, and holds for minutes. */
function takeGuess(options: LoginOptions, { principal }: PageCaller, request: FastifyRequest): void {
  takeOne(options, `user_code:${principal.id}`, 'user_code', userCodesPerMinute);
  takeTurn(options, request, 'user_code_address', userCodesPerAddressPerMinute);
}
