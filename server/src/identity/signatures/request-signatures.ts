import type { AccessRecord } from '../../base/access-record.ts';
import { PortcullisError } from '../../base/errors.ts';
import type { Authenticator } from '../authenticator.ts';
import type { Principal } from '../model.ts';
import type { Scope } from '../scopes.ts';
import type { SignatureReason, SignedRequest } from './model.ts';
import type { Nonces } from './nonces.ts';
import {
  combineFields,
  coversRequest,
  type Fields,
  heldUntilMs,
  isNonce,
  signatureBase,
  whyUntimely,
} from './rules.ts';
import { digestMatches, isSigned, readSignature } from './signature-fields.ts';
import { holds, type SigningKeyIndex } from './signing-key-index.ts';

export interface RequestSignaturesOptions {
  readonly keys: SigningKeyIndex;
  readonly nonces: Nonces;
  readonly authenticator: Pick<Authenticator, 'refuseSignature'>;
  readonly signedScopes: (projectId: string) => ReadonlySet<Scope>;
  /** The control feed's: resolves when a read that began after the call is in memory. */
  readonly refresh: () => Promise<void>;
  /** Epoch milliseconds, by one clock for all replicas: the database's. */
  readonly now: () => number;
  /** Told of each signature that was looked at, and of each that was missing. */
  readonly onVerdict: (verdict: 'valid' | SignatureReason) => void;
}

/** What a request asks for: the scopes that a policy could demand a signature for, and the project that it is about. */
export interface Asked {
  readonly scopes: readonly Scope[];
  /** The caller's own unless it names another. */
  readonly projectId: string;
}

/**
 * Signatures of requests (RFC 9421): where they are needed, and whether they hold. Asked by every door when the caller
 * and its scope are known, and the body was read.
 */
export class RequestSignatures {
  readonly #options: RequestSignaturesOptions;

  constructor(options: RequestSignaturesOptions) {
    this.#options = options;
  }

  /** The scopes for which the policy in force of the project asks for signatures. */
  signedScopes(projectId: string): ReadonlySet<Scope> {
    return this.#options.signedScopes(projectId);
  }

  /**
   * Whether there is anything to check, at next to no cost: most requests need no signature and have none.
   * @param hasInput it has the header Signature-Input, whoever that is for
   */
  concerns(principal: Principal, asked: Asked, hasInput: boolean): boolean {
    return hasInput || this.isNeeded(principal, asked);
  }

  /**
   * Whether the request must be signed: each of a key that says so, and each that asks for a scope which the policy of
   * the caller's project, or of the one that it is about, names. Of the latter are exempt: who proves by TLS to hold a
   * private key (nobody can repeat what such a connection carries), a person who signed in through the identity provider
   * (the session's writes carry a CSRF token and our own Origin, and a browser has no key to sign with), and
   * ADMIN_API_KEY, which must work when nothing else does.
   */
  isNeeded(principal: Principal, { scopes, projectId }: Asked): boolean {
    if (principal.requiresSignature) return true;
    if (scopes.length === 0 || isExempt(principal)) return false;
    const demanded = [this.signedScopes(principal.projectId), this.signedScopes(projectId)];
    return scopes.some((scope) => demanded.some((signed) => signed.has(scope)));
  }

  /**
   * Lets through what is signed, and what need not be and is not. A signature that is not needed must hold all the same.
   * @throws PortcullisError unauthenticated, with one sentence whatever the reason; rate_limited after many failures;
   * unavailable when it cannot be told whether the nonce was used before
   */
  async require(principal: Principal, asked: Asked, request: SignedRequest, access: AccessRecord): Promise<void> {
    const fields = combineFields(request.rawHeaders);
    if (!isSigned(fields) && !this.isNeeded(principal, asked)) return;
    const reason = await this.#whyNot(principal, request, fields);
    this.#options.onVerdict(reason ?? 'valid');
    if (reason === null) return;
    const { authenticator } = this.#options;
    const { clientAddress } = request;
    const refusal = reason === 'signature_unsupported' ? unsupported : unsigned;
    throw authenticator.refuseSignature(reason, principal, { clientAddress, access }, refusal);
  }

  /** From what is cheap to what costs; the nonce last, so that it is used up by nothing but a signature that holds. */
  async #whyNot({ keyId }: Principal, request: SignedRequest, fields: Fields): Promise<SignatureReason | null> {
    if (request.protocol === 'grpc') return 'signature_unsupported';
    const given = readSignature(fields);
    if (typeof given === 'string') return given;
    const { nonces, now } = this.#options;
    if (!isNonce(given.nonce)) return 'signature_weak_nonce';
    if (!coversRequest(given.components, request.method, fields)) return 'signature_components';
    const untimely = whyUntimely(given, now());
    if (untimely) return untimely;
    const key = await this.#findKey(given.keyid);
    if (key === null || key.keyId !== keyId) return 'signature_key_unknown';
    if (key.algorithm !== given.alg) return 'signature_algorithm';
    const base = signatureBase(given, request, fields);
    // Header values are bytes, which Node reads as Latin-1.
    if (base === null || !holds(key, Buffer.from(base, 'latin1'), given.signature)) return 'signature_bad';
    if (!isOfBody(fields, request)) return 'signature_digest';
    return (await nonces.take(key.id, given.nonce, heldUntilMs(given))) ? null : 'signature_replayed';
  }

  async #findKey(id: string) {
    const { keys, refresh } = this.#options;
    const known = keys.find(id);
    if (known !== null || !/^sgk_[0-9a-z]{26}$/.test(id)) return known;
    // Another replica may have registered it a moment ago. The caller's credential holds, and its rate is limited.
    await refresh();
    return keys.find(id);
  }
}

function isExempt({ method, scopes, binding, keyId }: Principal): boolean {
  if (method === 'certificate' || binding !== null) return true;
  // One that a key opened is as good as the key: whoever stole that could sign in with it.
  if (method === 'session') return keyId === null;
  return method === 'static_key' && scopes.has('admin');
}

function isOfBody(fields: Fields, request: SignedRequest): boolean {
  const contentDigest = fields.get('content-digest');
  if (contentDigest === undefined) return true;
  const digest = request.bodyDigest();
  return digest !== null && digestMatches(contentDigest, digest);
}

function unsigned(internal: string): PortcullisError {
  return new PortcullisError(
    'unauthenticated',
    'This request must carry a signature that holds, made anew for each request: docs/signatures.md says how.',
    { internal },
  );
}

function unsupported(internal: string): PortcullisError {
  return new PortcullisError(
    'unauthenticated',
    'This request must be signed, which native gRPC cannot be: use Connect or gRPC-Web, or a credential that is bound to a client certificate.',
    { internal },
  );
}
