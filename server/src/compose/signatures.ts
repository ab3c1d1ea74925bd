/** Signatures of requests. Part of the composition root: see main.ts. */
import { purgeEveryMs } from '../base/limits.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import { Nonces } from '../identity/signatures/nonces.ts';
import { RequestSignatures } from '../identity/signatures/request-signatures.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Pool } from 'pg';
import type { Base } from './base.ts';
import type { Control } from './control.ts';

interface Parts extends Pick<Control, 'feed' | 'policies' | 'signers'> {
  readonly pool: Pool;
  readonly authenticator: Authenticator;
}

/** What every door asks about signatures, and the job that forgets nonces whose time is over. */
export async function startSignatures({ log, metrics, stops }: Base, parts: Parts): Promise<RequestSignatures> {
  const now = () => parts.feed.databaseNow();
  const nonces = new Nonces({ pool: parts.pool, now });
  await nonces.purge();
  const purge = { name: 'purge nonces', everyMs: purgeEveryMs, run: () => nonces.purge() };
  stops.add('nonces', startJobs([purge], log));
  return new RequestSignatures({
    keys: parts.signers,
    nonces,
    authenticator: parts.authenticator,
    signedScopes: (projectId) => parts.policies.signedScopes(projectId),
    refresh: () => parts.feed.refresh(),
    now,
    onVerdict: (verdict) => metrics.signatures.inc({ verdict }),
  });
}
