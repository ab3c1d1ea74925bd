import type { FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../base/errors.ts';
import type { RateLimiter } from '../base/gcra.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { Principal } from '../identity/model.ts';
import { type RateClass, takeRate } from './rates.ts';
import { readCookie } from './sign-in/cookies.ts';
import { placeOf, requireOwnPage } from './sign-in/place.ts';

export interface GuardOptions {
  readonly authenticator: Authenticator;
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
  /** Throws `unavailable` when control state is older than its limit. */
  readonly assertFresh: () => void;
  /** Where people sign in, and may come with their session's cookie; absent on other listeners. */
  readonly browsers?: { readonly publicUrl: string | null };
}

/**
 * For control routes, on the headers, before a byte of the body is read: who calls, and its rate. What the principal may
 * do is decided by the route's declared scope.
 * @throws PortcullisError unauthenticated, rate_limited, cannot_verify, unavailable
 */
export async function admitCaller(
  options: GuardOptions,
  rateClass: RateClass,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Principal> {
  const session = sessionIn(options, request);
  const principal = await identify(options, request, session);
  request.principal = principal;
  if (principal.sessionId !== undefined) requireMeant(options, request, session);
  // A static credential does not depend on control state: it must work when nothing else does, to see and to mend.
  if (principal.method !== 'static_key') options.assertFresh();
  takeRate(options, rateClass, principal, reply);
  return principal;
}

function sessionIn({ browsers }: GuardOptions, request: FastifyRequest): string | null {
  return browsers ? readCookie(request, 'session', placeOf(request, browsers.publicUrl)) : null;
}

/** A browser sends a cookie along whoever makes it ask, so that all but a look takes more. @throws PortcullisError origin_denied */
function requireMeant({ browsers }: GuardOptions, request: FastifyRequest, session: string | null): void {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const place = placeOf(request, browsers?.publicUrl ?? null);
  requireOwnPage(request, place, session ?? '', request.headers['x-portcullis-csrf']);
}

async function identify(
  { authenticator, metrics }: GuardOptions,
  request: FastifyRequest,
  session: string | null,
): Promise<Principal> {
  try {
    return await authenticator.identify({
      headers: request.headers,
      url: request.url,
      clientAddress: request.clientAddress,
      certificate: request.certificate,
      session,
      access: request.access,
    });
  } catch (thrown) {
    const { status } = PortcullisError.from(thrown);
    if (status === 401 || status === 429) metrics.adminAuthFailures.inc();
    throw thrown;
  }
}
