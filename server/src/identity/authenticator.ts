import { hash } from 'node:crypto';
import type { AccessRecord } from '../base/access-record.ts';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { RateLimiter } from '../base/gcra.ts';
import { bucketsMax } from '../base/limits.ts';
import { addressPrefix } from '../net/client-address.ts';
import type { CertificateCallers } from './certificates/certificate-callers.ts';
import type { Presented } from './certificates/presented.ts';
import { type Credential, type Headers, credentialsIn, readCredential } from './credential.ts';
import { FailedCredentials } from './failures.ts';
import type { KeyUses } from './key-uses.ts';
import type { Principal } from './model.ts';
import type { RefusalAudit } from './refusal-audit.ts';
import type { SignatureReason } from './signatures/model.ts';
import type { Refused, Verdict, Verifier } from './verifier.ts';

export interface AuthRequest {
  /** Names in lower case. */
  readonly headers: Headers;
  /** Path and query as they were sent. */
  readonly url: string;
  /** As net/client-address.ts gives it. */
  readonly clientAddress: string;
  /** The client certificate of its connection, or that a trusted proxy told of. */
  readonly certificate: Presented;
  /** The door may give a provider the caller's own credential there. */
  readonly passesCredentialsOn?: boolean;
  /** What the session's cookie holds, at doors that take one; it counts only where nothing else is presented. */
  readonly session?: string | null;
  /** Filled in as far as the credential was verified. */
  readonly access: AccessRecord;
}

export interface AuthenticatorOptions {
  /** Asked in this order; the first that knows the kind of credential decides. */
  readonly verifiers: readonly Verifier[];
  readonly certificates: CertificateCallers;
  readonly refusals: RefusalAudit;
  readonly uses: KeyUses;
  readonly clock: Clock;
  /** Told of every request that came here. */
  readonly onAttempt: (method: Refused['method'], result: 'accepted' | 'refused' | 'limited' | 'unverifiable') => void;
}

// Absent and failed credentials of one address: 5 a second.
const refusedRate = { perMinute: 300, burst: 20 };

/** The one way in: every door resolves its caller here, from the headers alone. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #failures: FailedCredentials;
  readonly #refusedRates: RateLimiter;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#failures = new FailedCredentials(options.clock);
    this.#refusedRates = new RateLimiter(options.clock, bucketsMax);
  }

  /**
   * Who is calling. A credential that holds is never slowed by the failures of others at the same address: it is
   * verified first, and only what does not hold is limited.
   * @throws PortcullisError unauthenticated, with one message whatever the reason, but to who holds the secret of a key that
   * was bound to a run; rate_limited after many failures;
   * cannot_verify or unavailable when it cannot be told now
   */
  async identify(request: AuthRequest): Promise<Principal> {
    const { clientAddress, access } = request;
    const credential = presented(request);
    const verdict = await this.#verify(credential, request);
    if ('principal' in verdict) {
      this.#options.onAttempt(verdict.principal.method, 'accepted');
      if (verdict.principal.keyId !== null) this.#options.uses.note(verdict.principal, clientAddress);
      noteCaller(access, verdict.principal);
      return verdict.principal;
    }
    access.authMethod = verdict.method;
    access.authReason = verdict.reason;
    access.keyId = verdict.keyId;
    throw this.#refuse(verdict, failureKey(verdict, credential, request.certificate), request, (internal) =>
      verdict.reason === 'run_key_ended' ? endedWithRun(internal) : unauthenticated(internal),
    );
  }

  /**
   * The refusal of a caller whose credential holds and whose signature does not: counted, limited and audited as that of
   * a failed credential.
   */
  refuseSignature(
    reason: SignatureReason,
    { method, keyId, id }: Principal,
    request: Pick<AuthRequest, 'clientAddress' | 'access'>,
    refusal: (internal: string) => PortcullisError,
  ): PortcullisError {
    request.access.authReason = reason;
    return this.#refuse({ method, reason, keyId }, keyId ?? id, request, refusal);
  }

  /** Whether a header's value has a credential for this gate in it, which nobody else may ever see. */
  isForGate(value: string): boolean {
    const texts = credentialsIn(value);
    return this.#options.verifiers.some((verifier) => texts.some((text) => verifier.isOurs(text)));
  }

  async #verify(credential: Credential, { clientAddress, certificate }: AuthRequest): Promise<Verdict> {
    if (credential.kind === 'none') {
      if (certificate !== null) return this.#options.certificates.verify(certificate);
      return { method: 'none', reason: 'missing', keyId: null };
    }
    if (credential.kind === 'unreadable') return { method: 'none', reason: credential.reason, keyId: null };
    try {
      for (const verifier of this.#options.verifiers) {
        const verdict = await verifier.verify(credential, clientAddress);
        if (verdict) return this.#beside(verdict, certificate);
      }
    } catch (error) {
      this.#options.onAttempt('none', 'unverifiable');
      throw error;
    }
    return { method: 'none', reason: 'unrecognised', keyId: null };
  }

  /** A credential that holds must hold together with the certificate, too. */
  #beside(verdict: Verdict, certificate: Presented): Verdict {
    if (!('principal' in verdict)) return verdict;
    const { method, keyId } = verdict.principal;
    const reason = this.#options.certificates.refuseBeside(verdict.principal, certificate);
    return reason === null ? verdict : { method, reason, keyId };
  }

  /** @param key what tells this failed credential from others */
  #refuse(
    refused: Refused,
    key: string,
    { clientAddress, access }: Pick<AuthRequest, 'clientAddress' | 'access'>,
    refusal: (internal: string) => PortcullisError,
  ): PortcullisError {
    const prefix = addressPrefix(clientAddress);
    const rate = this.#refusedRates.take(prefix, refusedRate);
    let waitS = rate.retryAfterS;
    // A cookie that was ours is no guess: browsers send it on until they are told otherwise.
    if (refused.reason !== 'missing' && (refused.method !== 'session' || refused.reason.startsWith('signature_'))) {
      this.#options.refusals.noteCredential(refused, clientAddress, access.requestId);
      waitS = Math.max(waitS, this.#failures.count(prefix, key) / 1000);
    }
    const limited = waitS > 0;
    this.#options.onAttempt(refused.method, limited ? 'limited' : 'refused');
    const internal = `credential refused: ${refused.reason}`;
    if (!limited) return refusal(internal);
    const seconds = Math.ceil(waitS);
    return new PortcullisError(
      'rate_limited',
      `Too many requests from this address had no credential that holds: wait ${seconds} s before the next such one.`,
      { retryAfterS: seconds, rule: 'failed_credentials', internal },
    );
  }
}

/** One sentence for every reason and at every door: what exactly was wrong would help those who guess. */
export function unauthenticated(internal: string): PortcullisError {
  return new PortcullisError(
    'unauthenticated',
    'The credential is missing or does not hold: send an API key or an access token as "Authorization: Bearer …" or in "x-api-key", never in the URL.',
    { internal },
  );
}

/** Who repeats the end of a run with the key that ended with it must be able to tell this from a key that is wrong. */
function endedWithRun(internal: string): PortcullisError {
  return new PortcullisError(
    'unauthenticated',
    'This key was bound to a run and has ended: with its run, or because it was revoked. Ask with another key of its agent.',
    { internal },
  );
}

function presented({ headers, url, passesCredentialsOn, session }: AuthRequest): Credential {
  const credential = readCredential(headers, url, passesCredentialsOn);
  return credential.kind === 'none' && session ? { kind: 'session', text: session } : credential;
}

/** What tells this failed credential from others: guesses at one key count together. */
function failureKey({ keyId }: Refused, credential: Credential, certificate: Presented): string {
  if (keyId !== null) return keyId;
  if ('text' in credential) return hash('sha256', credential.text, 'base64');
  return typeof certificate === 'object' && certificate !== null ? certificate.thumbprint : '';
}

function noteCaller(access: AccessRecord, principal: Principal): void {
  access.projectId = principal.projectId;
  access.agentId = principal.agentId;
  access.runId = principal.runId;
  access.subject = principal.token?.subject ?? principal.id;
  access.keyId = principal.keyId;
  access.jti = principal.token?.jti ?? null;
  access.audience = principal.token?.audience ?? null;
  access.authMethod = principal.method;
}
