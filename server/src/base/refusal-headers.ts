import type { PortcullisError } from './errors.ts';

/** Headers of a refusal, whatever the shape of its body: when to come back, and whether trying again can help at all. */
export function refusalHeaders(error: PortcullisError): Record<string, string> {
  const headers: Record<string, string> = {};
  if (error.members.retryAfterS !== undefined) headers['retry-after'] = String(Math.ceil(error.members.retryAfterS));
  if (error.final) headers['x-should-retry'] = 'false';
  if (error.code === 'unauthenticated') headers['www-authenticate'] = 'Bearer';
  return headers;
}
