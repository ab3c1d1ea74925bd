import type { FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import type { Authenticator } from '../../identity/authenticator.ts';
import type { Principal } from '../../identity/model.ts';
import { readCookie } from './cookies.ts';
import { goTo } from '../pages/layout.ts';
import { type Place, placeOf } from './place.ts';

/** Somebody who is signed in and asks for a page. */
export interface PageCaller {
  readonly principal: Principal;
  /** The session's, of which the CSRF token follows. */
  readonly token: string;
  readonly place: Place;
}

/** What finding out who asks for a page takes. */
export interface PageCallers {
  readonly authenticator: Authenticator;
  /** PUBLIC_URL. */
  readonly publicUrl: string | null;
  /** Throws `unavailable` when control state is older than its limit. */
  readonly assertFresh: () => void;
  /** Counts at the rate of the control API, and throws `rate_limited`: a page asks the database as much as a call. */
  readonly takeRate: (principal: Principal, reply: FastifyReply) => void;
}

/**
 * Who asks for a page, by their session alone; null where nobody is signed in.
 * @throws PortcullisError unavailable when it cannot be told now, rate_limited
 */
export async function pageCaller(
  callers: PageCallers,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<PageCaller | null> {
  const place = placeOf(request, callers.publicUrl);
  const token = readCookie(request, 'session', place);
  const principal = token === null ? null : await identify(callers, request, token);
  if (token === null || principal === null) return null;
  if (principal.method !== 'static_key') callers.assertFresh();
  callers.takeRate(principal, reply);
  return { principal, token, place };
}

async function identify(
  { authenticator }: PageCallers,
  { clientAddress, certificate, access }: FastifyRequest,
  session: string,
): Promise<Principal | null> {
  try {
    return await authenticator.identify({ headers: {}, url: '/', clientAddress, certificate, access, session });
  } catch (thrown) {
    const { status } = PortcullisError.from(thrown);
    // A session that ended; or many of them, from one address.
    if (status === 401 || status === 429) return null;
    throw thrown;
  }
}

/** Sends whoever is not signed in to do so, and back to where they are now. */
export function askToSignIn(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return goTo(reply, `/sign-in?return_to=${encodeURIComponent(request.method === 'GET' ? request.url : '/account')}`);
}
