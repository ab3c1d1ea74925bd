import type { FastifyReply, FastifyRequest, onRequestAsyncHookHandler } from 'fastify';
import { PortcullisError } from '../base/errors.ts';
import type { RateLimiter } from '../base/gcra.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { Principal } from '../identity/model.ts';

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | null;
  }
}

export interface GuardOptions {
  readonly authenticator: Authenticator;
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
  readonly assertFresh: () => void;
}

/** A class of routes that share a rate per principal. */
export interface RateClass {
  readonly name: 'api' | 'admin';
  readonly perMinute: number;
  /** Principals that it does not count. */
  readonly exempt?: (principal: Principal) => boolean;
}

/**
 * For control routes, on the headers, before a byte of the body is read: who calls, and its rate. A route without a
 * principal is refused here; what the principal may do is decided by the route's declared scope.
 */
export function guard(options: GuardOptions, rateClass: RateClass): onRequestAsyncHookHandler {
  return async (request, reply) => {
    options.assertFresh();
    request.principal = await identify(options, request);
    takeRate(options, rateClass, request.principal, reply);
  };
}

async function identify({ authenticator, metrics }: GuardOptions, request: FastifyRequest): Promise<Principal> {
  try {
    return await authenticator.identify({
      headers: request.headers,
      url: request.url,
      clientAddress: request.clientAddress,
      access: request.access,
    });
  } catch (error) {
    metrics.adminAuthFailures.inc();
    throw error;
  }
}

function takeRate(
  { limiter, metrics }: GuardOptions,
  { name, perMinute, exempt }: RateClass,
  principal: Principal,
  reply: FastifyReply,
): void {
  if (exempt?.(principal)) return;
  const verdict = limiter.take(`${name}:${principal.keyId ?? principal.id}`, { perMinute, burst: perMinute });
  reply.header('ratelimit-policy', `"${name}";q=${perMinute};w=60`);
  reply.header('ratelimit', `"${name}";r=${verdict.remaining};t=${Math.ceil(verdict.resetS)}`);
  if (verdict.allowed) return;
  metrics.rateLimitExceeded.inc({ class: name, identifier_type: principal.keyId === null ? 'sub' : 'key' });
  throw new PortcullisError(
    'rate_limited',
    `This credential may make ${perMinute} such calls a minute; wait ${Math.ceil(verdict.retryAfterS)} s.`,
    {
      retryAfterS: verdict.retryAfterS,
      rule: name,
    },
  );
}
