import type { FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import { isCsrfToken } from '../../identity/sessions/token.ts';

/** Under what address a browser has us. */
export interface Place {
  readonly origin: string;
  /** By https; a cookie then never leaves it. */
  readonly secure: boolean;
}

const loopback = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * PUBLIC_URL where the browser came by its name, else plain http: whoever ends TLS before us passes the name on. The Host
 * was checked before.
 */
export function placeOf({ headers }: Pick<FastifyRequest, 'headers'>, publicUrl: string | null): Place {
  const host = headers.host ?? '';
  const named = publicUrl === null ? null : originOf(new URL(publicUrl).protocol, host);
  const origin = named !== null && named === publicUrl ? named : (originOf('http:', host) ?? '');
  return { origin, secure: origin.startsWith('https:') };
}

/** In lower case, and without a port that is the usual one. */
function originOf(protocol: string, host: string): string | null {
  return URL.parse(`${protocol}//${host}`)?.origin ?? null;
}

/** Secrets and sessions do not cross a network in the clear. @throws PortcullisError origin_denied */
export function requireSafePlace({ origin, secure }: Place): void {
  if (secure || loopback.test(origin.slice('http://'.length))) return;
  throw new PortcullisError(
    'origin_denied',
    'Signing in needs https: set PUBLIC_URL to the https address of this server and open that, or use a loopback address.',
    { rule: 'session.plaintext' },
  );
}

/**
 * Whether a request that does something comes from a page of ours, as the browser says: its Origin must be there, and be
 * our own.
 * @throws PortcullisError origin_denied
 */
export function requireOwnOrigin({ headers }: Pick<FastifyRequest, 'headers'>, { origin }: Place): void {
  const site = headers['sec-fetch-site'];
  if (headers.origin?.toLowerCase() === origin && (site === undefined || site === 'same-origin')) return;
  throw new PortcullisError('origin_denied', 'A browser must send this from a page of this server.', {
    rule: 'session.origin',
  });
}

/**
 * Whether a request in a session was meant by the person: it comes from our own page, and has the token that only such a
 * page knows.
 * @param token the session's
 * @param presented from the header `x-portcullis-csrf`, or the field of a form
 * @throws PortcullisError origin_denied
 */
export function requireOwnPage(
  request: Pick<FastifyRequest, 'headers'>,
  place: Place,
  token: string,
  presented: unknown,
): void {
  requireOwnOrigin(request, place);
  if (typeof presented === 'string' && isCsrfToken(token, presented)) return;
  throw new PortcullisError(
    'origin_denied',
    'What a session does needs its CSRF token: send it as x-portcullis-csrf, or open the page again.',
    { rule: 'session.csrf' },
  );
}
