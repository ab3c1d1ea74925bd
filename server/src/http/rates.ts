import type { FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../base/errors.ts';
import type { RateLimiter } from '../base/gcra.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Principal } from '../identity/model.ts';
import { addressPrefix } from '../net/client-address.ts';

/** What counts requests. */
export interface Meters {
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
}

/** A class of routes that share a rate per principal. */
export interface RateClass {
  readonly name: 'api' | 'admin';
  readonly perMinute: number;
  /** Principals that it does not count. */
  readonly exempt?: (principal: Principal) => boolean;
}

/** Takes one of the calls that a principal may make; keys of a login count as one. @throws PortcullisError rate_limited */
export function takeRate(
  { limiter, metrics }: Meters,
  { name, perMinute, exempt }: RateClass,
  principal: Principal,
  reply: FastifyReply,
): void {
  if (exempt?.(principal)) return;
  const verdict = limiter.take(`${name}:${principal.loginId ?? principal.keyId ?? principal.id}`, {
    perMinute,
    burst: perMinute,
  });
  // draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it.
  reply.header('ratelimit-policy', `"${name}";q=${perMinute};w=60`);
  reply.header('ratelimit', `"${name}";r=${verdict.remaining};t=${Math.ceil(verdict.resetS)}`);
  if (verdict.allowed) return;
  metrics.rateLimitExceeded.inc({ class: name, identifier_type: principal.keyId === null ? 'sub' : 'key' });
  throw new PortcullisError(
    'rate_limited',
    `This credential may make ${perMinute} such calls a minute; wait ${Math.ceil(verdict.retryAfterS)} s.`,
    { retryAfterS: verdict.retryAfterS, rule: name },
  );
}

/** Takes one request of an address. @throws PortcullisError rate_limited */
export function takeTurn(meters: Meters, { clientAddress }: FastifyRequest, what: string, perMinute: number): void {
  takeOne(meters, `${what}:${addressPrefix(clientAddress)}`, what, perMinute, 'ip');
}

/** Takes one of the bucket `key`. @throws PortcullisError rate_limited */
export function takeOne(
  { limiter, metrics }: Meters,
  key: string,
  what: string,
  perMinute: number,
  identifierType: 'ip' | 'sub' = 'sub',
): void {
  const verdict = limiter.take(key, { perMinute, burst: perMinute });
  if (verdict.allowed) return;
  metrics.rateLimitExceeded.inc({ class: what, identifier_type: identifierType });
  const seconds = Math.ceil(verdict.retryAfterS);
  throw new PortcullisError('rate_limited', `Too many requests of this kind: wait ${seconds} s.`, {
    retryAfterS: seconds,
    rule: what,
  });
}
