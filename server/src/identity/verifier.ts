import type { Credential } from './credential.ts';
import type { AuthMethod, Principal, RefusalReason } from './model.ts';

/** A credential that does not hold. */
export interface Refused {
  readonly method: AuthMethod | 'none';
  readonly reason: RefusalReason;
  /** The id of the API key that was presented, which is public and may be made up. */
  readonly keyId: string | null;
}

export type Verdict = { readonly principal: Principal } | Refused;

/**
 * Verifies one kind of credential. The authenticator asks each in turn; null says that the credential is of another
 * kind. Throws only when it cannot tell now (503).
 */
export interface Verifier {
  verify(credential: Credential, clientAddress: string): Verdict | null | Promise<Verdict | null>;

  /** Whether a text is a credential of this kind, in force or not: one that was meant for this gate and for nobody else. */
  isOurs(text: string): boolean;
}
