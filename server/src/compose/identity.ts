/** Who is calling. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { configuredCredentials, configuredIssuers } from '../config/credential-options.ts';
import { ApiKeyVerifier } from '../identity/api-key-verifier.ts';
import { Authenticator } from '../identity/authenticator.ts';
import { CertificateCallers } from '../identity/certificates/certificate-callers.ts';
import type { IdentityIndex } from '../identity/identity-index.ts';
import { JwtVerifier } from '../identity/jwt.ts';
import type { KeyUses } from '../identity/key-uses.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import { StaticCredentials } from '../identity/static-credentials.ts';
import { credentialTag, SessionVerifier } from '../identity/sessions/verifier.ts';
import { createFetchJson } from '../net/fetch-json.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Store } from './database.ts';

export function createTokenVerifier({ config, log, metrics }: Base, index: IdentityIndex): JwtVerifier {
  return new JwtVerifier({
    issuers: configuredIssuers(config).map(({ project, ...issuer }) => ({
      ...issuer,
      projectId: projectIdOf(index, project, 'portcullis.yaml: an issuer'),
    })),
    index,
    fetchJson: createFetchJson(),
    clock: systemClock,
    onFetch: (result, err) => {
      metrics.jwksFetches.inc({ result });
      if (result === 'failed') log.warn({ err }, 'the keys of a token issuer could not be fetched');
    },
    onSignature: (seconds) => metrics.jwtVerification.observe(seconds),
  });
}

export function projectIdOf(index: IdentityIndex, name: string, where: string): string {
  const project = index.projectByName(name);
  if (project) return project.id;
  throw new PortcullisError('invalid_argument', `${where} names the project "${name}", which does not exist.`);
}

export function createAuthenticator(
  { config, metrics }: Base,
  tokens: JwtVerifier,
  parts: Store & Control & { readonly refusals: RefusalAudit; readonly uses: KeyUses },
): Authenticator {
  const { feed, identity: index, keys, pool, projectId, refusals, uses } = parts;
  const statics = new StaticCredentials({ projectId, ...configuredCredentials(config) });
  const { ADMIN_API_KEY } = config.options;
  const admin = ADMIN_API_KEY === null ? null : statics.verify({ kind: 'token', text: ADMIN_API_KEY });
  const refresh = () => feed.refresh();
  return new Authenticator({
    certificates: new CertificateCallers({
      index,
      clock: systemClock,
      projectId: projectIdOf(index, config.options.MTLS_PROJECT, 'MTLS_PROJECT'),
    }),
    refusals,
    uses,
    clock: systemClock,
    onAttempt: (method, result) => {
      metrics.authAttempts.inc({ method, result });
      if (result === 'limited') metrics.rateLimitExceeded.inc({ class: 'failed_credentials', identifier_type: 'ip' });
    },
    verifiers: [
      // First, since an operator's own key may have any form, ours included.
      statics,
      new ApiKeyVerifier({ pepper: keys.keyPepper, index, refresh, clock: systemClock }),
      tokens,
      new SessionVerifier({
        db: pool,
        key: keys.sessions,
        index,
        refresh,
        adminKey:
          ADMIN_API_KEY !== null && admin && 'principal' in admin
            ? { tag: credentialTag(keys.sessions, ADMIN_API_KEY), principal: admin.principal }
            : null,
      }),
    ],
  });
}
