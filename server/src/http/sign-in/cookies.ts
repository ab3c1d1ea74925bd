import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Place } from './place.ts';

/** `session` says who is signed in; `ticket` is kept while somebody is at the identity provider. */
type Cookie = 'session' | 'ticket';

// The prefix makes browsers insist on what follows from https (RFC 6265bis, 4.1.3.2): no other host or path can plant one.
const secureNames: Readonly<Record<Cookie, string>> = {
  session: '__Host-portcullis',
  ticket: '__Host-portcullis-sign-in',
};
const plainNames: Readonly<Record<Cookie, string>> = {
  session: 'portcullis-session',
  ticket: 'portcullis-sign-in',
};

/** What the browser keeps; null where it has nothing. */
export function readCookie({ headers }: Pick<FastifyRequest, 'headers'>, cookie: Cookie, place: Place): string | null {
  const name = nameOf(cookie, place);
  for (const pair of headers.cookie?.split(';') ?? []) {
    const at = pair.indexOf('=');
    if (at !== -1 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim() || null;
  }
  return null;
}

/**
 * Lets the browser keep `value`, which needs no quoting. Lax, since people come from mailed links and from the identity
 * provider.
 * @param maxAgeS null: until the browser ends
 */
export function setCookie(
  reply: FastifyReply,
  cookie: Cookie,
  place: Place,
  value: string,
  maxAgeS: number | null,
): void {
  const attributes = [
    `${nameOf(cookie, place)}=${value}`,
    'Path=/',
    'HttpOnly',
    'SameSite=Lax',
    ...(place.secure ? ['Secure'] : []),
    ...(maxAgeS === null ? [] : [`Max-Age=${maxAgeS}`]),
  ];
  reply.header('set-cookie', attributes.join('; '));
}

export function clearCookie(reply: FastifyReply, cookie: Cookie, place: Place): void {
  setCookie(reply, cookie, place, '', 0);
}

function nameOf(cookie: Cookie, { secure }: Place): string {
  return (secure ? secureNames : plainNames)[cookie];
}
