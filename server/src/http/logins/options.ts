import type { Pool } from 'pg';
import type { RateLimiter } from '../../base/gcra.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { DeviceLogins } from '../../identity/logins/device-service.ts';
import type { TokenExchange } from '../../identity/logins/exchange.ts';
import type { LoginService } from '../../identity/logins/service.ts';
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
