import type { Clock } from '../../base/clock.ts';
import { digestsEqual } from '../api-key.ts';
import type { IdentityIndex } from '../identity-index.ts';
import type { Binding, Principal, RefusalReason } from '../model.ts';
import { scopesNotForAgents } from '../permission.ts';
import type { AgentRecord } from '../records.ts';
import { isScope } from '../scopes.ts';
import type { Verdict } from '../verifier.ts';
import type { PresentedCertificate } from './presented.ts';
import { parseSpiffeId } from './spiffe-id.ts';

export interface CertificateCallersOptions {
  readonly index: IdentityIndex;
  readonly clock: Clock;
  /** The project whose agents the trust domain names. */
  readonly projectId: string;
}

/** Who calls with a client certificate, and whether a key or token that comes with one holds. */
export class CertificateCallers {
  readonly #options: CertificateCallersOptions;

  constructor(options: CertificateCallersOptions) {
    this.#options = options;
  }

  /** The agent that a certificate names, where nothing else says who calls. */
  verify(certificate: PresentedCertificate | RefusalReason): Verdict {
    const found = this.#callerOf(certificate);
    return typeof found === 'string' ? { method: 'certificate', reason: found, keyId: null } : { principal: found };
  }

  /**
   * Why a key or token does not hold with what came beside it; null when it does. One that is bound holds with its
   * certificate alone. One that is not holds without a certificate, or with one of the same agent.
   */
  refuseBeside(principal: Principal, certificate: PresentedCertificate | RefusalReason | null): RefusalReason | null {
    const { binding, agentId } = principal;
    if (certificate === null) return binding === null ? null : 'certificate_missing';
    if (typeof certificate === 'string') return certificate;
    const untimely = this.#refuseTime(certificate);
    if (untimely) return untimely;
    if (binding !== null) return matches(binding, certificate) ? null : 'certificate_mismatch';
    const agent = this.#agentOf(certificate);
    return typeof agent !== 'string' && agent.id === agentId ? null : 'certificate_mismatch';
  }

  #callerOf(certificate: PresentedCertificate | RefusalReason): Principal | RefusalReason {
    if (typeof certificate === 'string') return certificate;
    const untimely = this.#refuseTime(certificate);
    if (untimely) return untimely;
    const agent = this.#agentOf(certificate);
    if (typeof agent === 'string') return agent;
    const { index } = this.#options;
    const principal = principalOf(agent, certificate, index.teamsOf(agent.personId));
    return index.whyEnded(principal) ?? principal;
  }

  #refuseTime({ validFrom, validTo }: PresentedCertificate): RefusalReason | null {
    const now = this.#options.clock.now();
    if (now < validFrom) return 'certificate_not_yet_valid';
    return now > validTo ? 'certificate_expired' : null;
  }

  #agentOf({ spiffeId, refusal }: PresentedCertificate): AgentRecord | RefusalReason {
    if (spiffeId === null) return refusal ?? 'certificate_without_name';
    const [kind, nameOrId, ...more] = parseSpiffeId(spiffeId)?.segments ?? [];
    if (kind !== 'agent' || nameOrId === undefined || more.length > 0) return 'certificate_without_name';
    const { index, projectId } = this.#options;
    return index.agentOf(projectId, nameOrId) ?? 'unknown_agent';
  }
}

function matches({ by, value }: Binding, { thumbprint, spiffeId }: PresentedCertificate): boolean {
  if (by === 'spiffe_id') return value === spiffeId;
  return digestsEqual(Buffer.from(value, 'base64url'), Buffer.from(thumbprint, 'base64url'));
}

function principalOf(agent: AgentRecord, certificate: PresentedCertificate, teams: readonly string[]): Principal {
  const scopes = agent.certificateScopes.filter(isScope).filter((scope) => !scopesNotForAgents.has(scope));
  return {
    kind: 'agent',
    id: agent.id,
    name: agent.name,
    projectId: agent.projectId,
    scopes: new Set(scopes),
    method: 'certificate',
    agentId: agent.id,
    personId: agent.personId,
    keyId: null,
    runId: null,
    models: null,
    teams,
    requiresSignature: false,
    binding: null,
    cidrs: null,
    token: null,
    expiresAt: certificate.validTo,
  };
}
