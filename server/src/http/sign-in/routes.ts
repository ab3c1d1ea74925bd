import type { KeyObject } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import type { RateLimiter } from '../../base/gcra.ts';
import { signInBurst, signInMs, signInsPerMinute } from '../../base/limits.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { refusalHeaders } from '../../base/refusal-headers.ts';
import type { LoginService } from '../../identity/logins/service.ts';
import type { OidcSignIn } from '../../identity/oidc/sign-in.ts';
import { findPerson } from '../../identity/person-store.ts';
import { signInWithKey } from '../../identity/sessions/key-sign-in.ts';
import type { SignedIn, SignInMethod } from '../../identity/sessions/model.ts';
import type { SessionService } from '../../identity/sessions/service.ts';
import { csrfToken } from '../../identity/sessions/token.ts';
import { findTeams } from '../../identity/team-store.ts';
import { addressPrefix } from '../../net/client-address.ts';
import { noteRefusal } from '../refusal.ts';
import { accountPage } from './account-page.ts';
import { askToSignIn, pageCaller, type PageCaller, type PageCallers } from './browser.ts';
import { clearCookie, readCookie, setCookie } from './cookies.ts';
import { goTo, sendPage } from '../pages/layout.ts';
import { formField, registerPages } from '../pages/pages.ts';
import { type Place, placeOf, requireOwnOrigin, requireOwnPage, requireSafePlace } from './place.ts';
import { accountPath, safeReturnPath } from './return-path.ts';
import { backToSignIn, leavingPage, signInPage } from './sign-in-page.ts';

export interface SignInOptions extends PageCallers {
  readonly pool: Pool;
  readonly sessions: SessionService;
  readonly logins: LoginService;
  readonly sessionKey: KeyObject;
  /** The identity provider, and what its button calls it; null where none is configured. */
  readonly provider: { readonly name: string; readonly signIn: OidcSignIn } | null;
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
  readonly log: Logger;
}

const callbackPath = '/sign-in/callback';
const sessionsShown = 50;

/** The pages on which people sign in and out, and see where they are signed in. */
export async function registerSignIn(app: FastifyInstance, options: SignInOptions): Promise<void> {
  await registerPages(app, options.log, backToSignIn, (scope) => {
    scope.get<{ Querystring: { return_to?: unknown } }>('/sign-in', async (request, reply) => {
      const returnTo = safeReturnPath(request.query.return_to);
      if (await pageCaller(options, request, reply)) return goTo(reply, returnTo);
      return sendSignIn(options, reply, 200, returnTo, null);
    });
    scope.post('/sign-in', (request, reply) => signInByKey(options, request, reply));
    scope.post('/sign-in/start', (request, reply) => goToProvider(options, request, reply));
    // A code is used once: what only looks whether there is a page must not use it.
    scope.get(callbackPath, { exposeHeadRoute: false }, (request, reply) => comeBack(options, request, reply));
    scope.post('/sign-out', (request, reply) => signOut(options, request, reply));
    scope.get(accountPath, async (request, reply) => {
      const caller = await pageCaller(options, request, reply);
      return caller ? showAccount(options, caller, reply) : askToSignIn(request, reply);
    });
    scope.post('/account/sessions/end', (request, reply) => endSession(options, request, reply));
    scope.post('/account/logins/end', (request, reply) => endLogin(options, request, reply));
  });
}

async function signInByKey(
  options: SignInOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const place = ownPlace(options, request);
  const returnTo = safeReturnPath(formField(request, 'return_to'));
  const { clientAddress, certificate, access } = request;
  try {
    await counted(options, 'key', async () => {
      const from = { clientAddress, certificate, access };
      const key = formField(request, 'key');
      const signedIn = await signInWithKey(options.authenticator, options.sessionKey, key, from);
      await begin(options, request, reply, place, signedIn);
    });
    return goTo(reply, returnTo);
  } catch (thrown) {
    const error = PortcullisError.from(thrown);
    if (error.status !== 401 && error.status !== 429) throw thrown;
    noteRefusal(access, error);
    const sentence = error.status === 401 ? 'This key does not hold, or is not for signing in.' : error.message;
    return sendSignIn(options, reply.headers(refusalHeaders(error)), error.status, returnTo, sentence);
  }
}

async function goToProvider(
  options: SignInOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const place = ownPlace(options, request);
  const { signIn } = requireProvider(options);
  takeTurn(options, request);
  const returnTo = safeReturnPath(formField(request, 'return_to'));
  const { url, ticket } = await counted(options, 'oidc', () => signIn.begin(redirectUri(options, place), returnTo), {
    accepted: false,
  });
  setCookie(reply, 'ticket', place, ticket, signInMs / 1000);
  return sendPage(reply, 200, leavingPage(url));
}

async function comeBack(options: SignInOptions, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const place = placeOf(request, options.publicUrl);
  requireSafePlace(place);
  const { signIn } = requireProvider(options);
  const ticket = readCookie(request, 'ticket', place);
  // Whatever comes of it, it was used.
  clearCookie(reply, 'ticket', place);
  const answer = new URL(redirectUri(options, place));
  answer.search = request.url.slice(callbackPath.length);
  const { returnTo } = await counted(options, 'oidc', async () => {
    // First, so that who began nothing takes no turn of others at their address.
    const begun = signIn.open(ticket);
    takeTurn(options, request);
    await begin(options, request, reply, place, await signIn.finish(answer, begun, request.id));
    return begun;
  });
  return goTo(reply, returnTo);
}

async function signOut(options: SignInOptions, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const place = placeOf(request, options.publicUrl);
  const token = readCookie(request, 'session', place);
  if (token === null) return goTo(reply, '/sign-in');
  requireOwnPage(request, place, token, formField(request, 'csrf'));
  await options.sessions.signOut(token, request.id);
  clearCookie(reply, 'session', place);
  return goTo(reply, '/sign-in');
}

async function showAccount(
  { pool, sessions, logins }: SignInOptions,
  { principal, token }: PageCaller,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { projectId, personId } = principal;
  const shown = { pageSize: sessionsShown, cursor: null };
  const own = await sessions.list(principal, projectId, true, shown);
  const page = accountPage({
    principal,
    person: personId === null ? null : await findPerson(pool, projectId, personId),
    teams: await findTeams(pool, projectId, principal.teams),
    sessions: own.items,
    logins: (await logins.list(principal, projectId, true, shown)).items,
    csrf: csrfToken(token),
  });
  return sendPage(reply, 200, page);
}

async function endSession(options: SignInOptions, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const caller = await pageCaller(options, request, reply);
  if (!caller) return askToSignIn(request, reply);
  const { principal, token, place } = caller;
  requireOwnPage(request, place, token, formField(request, 'csrf'));
  const named = { projectId: principal.projectId, id: formField(request, 'session_id') };
  await options.sessions.end(principal, request.id, named);
  return goTo(reply, accountPath);
}

async function endLogin(options: SignInOptions, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const caller = await pageCaller(options, request, reply);
  if (!caller) return askToSignIn(request, reply);
  const { principal, token, place } = caller;
  requireOwnPage(request, place, token, formField(request, 'csrf'));
  const named = { projectId: principal.projectId, id: formField(request, 'login_id') };
  await options.logins.end(principal, request.id, named);
  return goTo(reply, accountPath);
}

/** The browser has a session from now on, and none that it had before. */
async function begin(
  { sessions, takeRate }: SignInOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  place: Place,
  signedIn: SignedIn,
): Promise<void> {
  takeRate(signedIn.principal, reply);
  const token = await sessions.start(signedIn, {
    requestId: request.id,
    clientAddress: request.clientAddress,
    userAgent: request.headers['user-agent'] ?? '',
    token: readCookie(request, 'session', place),
  });
  setCookie(reply, 'session', place, token, null);
}

function sendSignIn(
  { provider }: SignInOptions,
  reply: FastifyReply,
  status: number,
  returnTo: string,
  problem: string | null,
): FastifyReply {
  return sendPage(reply, status, signInPage({ returnTo, provider: provider?.name ?? null, problem }));
}

/** Where the browser is, for a form of ours that it sends. @throws PortcullisError origin_denied */
function ownPlace({ publicUrl }: SignInOptions, request: FastifyRequest): Place {
  const place = placeOf(request, publicUrl);
  requireSafePlace(place);
  requireOwnOrigin(request, place);
  return place;
}

/** Exactly as it is registered at the provider. */
function redirectUri({ publicUrl }: SignInOptions, { origin }: Place): string {
  return (publicUrl ?? origin) + callbackPath;
}

function requireProvider({ provider }: SignInOptions): NonNullable<SignInOptions['provider']> {
  if (provider) return provider;
  throw new PortcullisError('not_found', 'No identity provider is configured here: sign in with a key.');
}

/** Each turn may ask the identity provider something; strangers have a few a minute. @throws PortcullisError rate_limited */
function takeTurn({ limiter, metrics }: SignInOptions, { clientAddress }: FastifyRequest): void {
  const rate = { perMinute: signInsPerMinute, burst: signInBurst };
  const verdict = limiter.take(`sign-in:${addressPrefix(clientAddress)}`, rate);
  if (verdict.allowed) return;
  metrics.rateLimitExceeded.inc({ class: 'sign_in', identifier_type: 'ip' });
  const seconds = Math.ceil(verdict.retryAfterS);
  throw new PortcullisError('rate_limited', `Too many sign-ins from this address: wait ${seconds} s.`, {
    retryAfterS: seconds,
    rule: 'sign_in',
  });
}

/** Counts what comes of a sign-in; one that goes on elsewhere is not accepted yet. */
async function counted<T>(
  { metrics }: SignInOptions,
  method: SignInMethod,
  signIn: () => Promise<T>,
  { accepted } = { accepted: true },
): Promise<T> {
  try {
    const made = await signIn();
    if (accepted) metrics.signIns.inc({ method, result: 'accepted' });
    return made;
  } catch (thrown) {
    const { status } = PortcullisError.from(thrown);
    const result = status === 429 ? 'limited' : status >= 500 ? 'unavailable' : 'refused';
    metrics.signIns.inc({ method, result });
    throw thrown;
  }
}
