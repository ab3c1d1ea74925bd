import type { FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import type { RateLimiter } from '../../base/gcra.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { DeviceLogins } from '../../identity/logins/device-service.ts';
import type { TokenExchange } from '../../identity/logins/exchange.ts';
import type { LoginService } from '../../identity/logins/service.ts';
import { addressPrefix } from '../../net/client-address.ts';
import type { PageCallers } from '../sign-in/browser.ts';

export interface LoginOptions extends PageCallers {
  readonly pool: Pool;
  readonly devices: DeviceLogins;
  readonly logins: LoginService;
  readonly exchange: TokenExchange;
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** The only client that there is: the command line, and what speaks like it. */
export const clientId = 'portcullis-cli';

/** Where a person confirms a login. */
export const devicePath = '/device';

/** Takes one request of an address. @throws PortcullisError rate_limited */
export function takeTurn(
  { limiter, metrics }: LoginOptions,
  { clientAddress }: FastifyRequest,
  what: string,
  perMinute: number,
): void {
  takeOne({ limiter, metrics }, `${what}:${addressPrefix(clientAddress)}`, what, perMinute, 'ip');
}

/** Takes one of the bucket `key`. @throws PortcullisError rate_limited */
export function takeOne(
  { limiter, metrics }: Pick<LoginOptions, 'limiter' | 'metrics'>,
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
