/** People who sign in at a browser. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { RateLimiter } from '../base/gcra.ts';
import { bucketsMax, purgeEveryMs } from '../base/limits.ts';
import type { Config } from '../config/config.ts';
import type { SignInOptions } from '../http/sign-in/routes.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { IdentityIndex } from '../identity/identity-index.ts';
import type { OidcOptions } from '../identity/oidc/model.ts';
import { OidcSignIn } from '../identity/oidc/sign-in.ts';
import type { LoginService } from '../identity/logins/service.ts';
import { SessionService } from '../identity/sessions/service.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Store } from './database.ts';
import { projectIdOf } from './identity.ts';

/** What the pages are made from, and the job that forgets sessions of long ago. */
export function startSignIn(
  { config, log, metrics, stops }: Base,
  { pool, keys }: Store,
  { feed, identity }: Pick<Control, 'feed' | 'identity'>,
  authenticator: Authenticator,
  logins: LoginService,
): Omit<SignInOptions, 'takeRate'> {
  const sessions = new SessionService(pool, keys.sessions);
  const purge = { name: 'purge sessions', everyMs: purgeEveryMs, run: () => sessions.purge() };
  stops.add('sessions', startJobs([purge], log));
  const oidc = oidcOptions(config, identity);
  const reach = (version: bigint, timeoutMs: number) => feed.reach(version, timeoutMs);
  const parts = { pool, key: keys.sessions, index: identity, reach, clock: systemClock };
  return {
    authenticator,
    publicUrl: config.options.PUBLIC_URL,
    assertFresh: () => feed.assertFresh(),
    pool,
    sessions,
    logins,
    sessionKey: keys.sessions,
    provider: oidc && { name: oidc.name, signIn: new OidcSignIn(oidc.options, parts) },
    limiter: new RateLimiter(systemClock, bucketsMax),
    metrics,
    log,
  };
}

function oidcOptions(
  { file }: Config,
  identity: IdentityIndex,
): { readonly name: string; readonly options: OidcOptions } | null {
  const { sign_in: signIn } = file;
  if (!signIn) return null;
  return {
    name: signIn.name,
    options: {
      issuer: signIn.issuer,
      clientId: signIn.client_id,
      clientSecret: signIn.client_secret ?? null,
      clientAuth: signIn.client_auth,
      scopes: signIn.scopes,
      projectId: projectIdOf(identity, signIn.project, 'portcullis.yaml: sign_in'),
      rules: {
        groupsClaim: signIn.groups_claim,
        roles: signIn.roles,
        teams: signIn.teams,
        emailDomains: signIn.email_domains ?? null,
        trustEmail: signIn.trust_email,
      },
    },
  };
}
