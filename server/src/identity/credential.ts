import { tokenBytesMax } from '../base/limits.ts';
import type { RefusalReason } from './model.ts';

/** What a request presents, not yet verified. */
export type Credential =
  | { readonly kind: 'none' }
  /** `x-portcullis-key`, `x-api-key`, or `Authorization: Bearer` (RFC 6750). */
  | { readonly kind: 'token'; readonly text: string }
  /** `user:password` (RFC 7617). */
  | { readonly kind: 'basic'; readonly text: string }
  /** What a browser's cookie holds, where nothing else was presented. */
  | { readonly kind: 'session'; readonly text: string }
  | { readonly kind: 'unreadable'; readonly reason: RefusalReason };

/** Headers with names in lower case, as Node gives them. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

// Under these names a query parameter carries a credential somewhere. URLs end up in logs, histories and referrers.
const credentialParameters = new Set([
  'access_token',
  'accesstoken',
  'api-key',
  'api_key',
  'apikey',
  'auth',
  'auth_token',
  'authorization',
  'bearer',
  'id_token',
  'jwt',
  'key',
  'token',
  'x-api-key',
  'x-portcullis-key',
]);

/**
 * Finds the credential of a request. The same one in several headers is one; different ones are refused, since whoever
 * checks only one of them would be misled. One in the query string is refused, whatever the headers carry.
 * @param passesCredentialsOn where `x-portcullis-key` is there, it alone says who calls: what else there is may be the
 * caller's own credential at a provider (`credential: caller`), which means nothing here
 */
export function readCredential(headers: Headers, url: string, passesCredentialsOn = false): Credential {
  if (hasCredentialInQuery(url)) return { kind: 'unreadable', reason: 'in_url' };
  const gateKey = readKeyHeader(headers['x-portcullis-key']);
  if (passesCredentialsOn && gateKey.kind !== 'none') return gateKey;
  const all = [gateKey, readKeyHeader(headers['x-api-key']), readAuthorization(headers['authorization'])];
  const [first, ...others] = all.filter(({ kind }) => kind !== 'none');
  if (first === undefined) return { kind: 'none' };
  if (others.every((other) => isSame(first, other))) return first;
  return { kind: 'unreadable', reason: 'conflicting' };
}

/** Every text in a header's value that may be a credential: all of it, each word, and what Basic hides with its two halves. */
export function credentialsIn(value: string): string[] {
  const words = [value, ...value.split(/[\s,]+/)];
  const basic = readAuthorization(value);
  if (basic.kind !== 'basic') return words;
  const [, user = '', password = ''] = /^([^:]*):?(.*)$/s.exec(basic.text) ?? [];
  return [...words, basic.text, user, password];
}

function isSame(one: Credential, other: Credential): boolean {
  return one.kind === 'token' && other.kind === 'token' && one.text === other.text;
}

function readKeyHeader(value: Headers[string]): Credential {
  if (value === undefined || value === '') return { kind: 'none' };
  return typeof value === 'string' && isToken(value)
    ? { kind: 'token', text: value }
    : { kind: 'unreadable', reason: 'malformed' };
}

function readAuthorization(value: Headers[string]): Credential {
  if (value === undefined || value === '') return { kind: 'none' };
  if (typeof value !== 'string') return { kind: 'unreadable', reason: 'malformed' };
  const space = value.indexOf(' ');
  const scheme = (space < 0 ? value : value.slice(0, space)).toLowerCase();
  const rest = space < 0 ? '' : value.slice(space).trim();
  if (scheme !== 'bearer' && scheme !== 'basic') return { kind: 'unreadable', reason: 'unsupported_scheme' };
  if (!isToken(rest)) return { kind: 'unreadable', reason: 'malformed' };
  return scheme === 'bearer'
    ? { kind: 'token', text: rest }
    : { kind: 'basic', text: Buffer.from(rest, 'base64').toString('utf8') };
}

function isToken(text: string): boolean {
  return text.length <= tokenBytesMax && /^[\x21-\x7e]+$/.test(text);
}

function hasCredentialInQuery(url: string): boolean {
  const start = url.indexOf('?');
  if (start < 0) return false;
  for (const name of new URLSearchParams(url.slice(start)).keys()) {
    if (credentialParameters.has(name.toLowerCase())) return true;
  }
  return false;
}
