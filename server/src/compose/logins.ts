/** Logins of the command line. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { RateLimiter } from '../base/gcra.ts';
import { bucketsMax, purgeEveryMs } from '../base/limits.ts';
import type { LoginOptions } from '../http/logins/options.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import { DeviceLogins } from '../identity/logins/device-service.ts';
import { TokenExchange } from '../identity/logins/exchange.ts';
import { LoginService } from '../identity/logins/service.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Store } from './database.ts';

/** What the endpoints and the page are made from, and the job that forgets device codes. */
export function startLogins(
  { config, log, metrics, stops }: Base,
  { pool, keys }: Store,
  { feed }: Pick<Control, 'feed'>,
  authenticator: Authenticator,
): Omit<LoginOptions, 'takeRate'> {
  const secrets = { pepper: keys.keyPepper, key: keys.logins };
  const devices = new DeviceLogins(pool, secrets);
  const purge = { name: 'purge device codes', everyMs: purgeEveryMs, run: () => devices.purge() };
  stops.add('device codes', startJobs([purge], log));
  return {
    authenticator,
    publicUrl: config.options.PUBLIC_URL,
    assertFresh: () => feed.assertFresh(),
    pool,
    devices,
    logins: new LoginService(pool, secrets),
    exchange: new TokenExchange(pool, keys.keyPepper, authenticator),
    limiter: new RateLimiter(systemClock, bucketsMax),
    metrics,
    log,
  };
}
