import type { RefusalReason } from '../model.ts';

/** Names of the registry of RFC 9421, section 6.2. */
export type SignatureAlgorithm = 'ed25519' | 'hmac-sha256';

/** A key that signs the requests of one API key; times are epoch milliseconds. */
export interface SigningKeyRecord {
  readonly id: string;
  readonly projectId: string;
  /** The API key whose requests it signs. */
  readonly keyId: string;
  readonly algorithm: SignatureAlgorithm;
  /** The 32 bytes of an ed25519 key (RFC 8032, section 5.1.5); null for HMAC. */
  readonly publicKey: Buffer | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly revokedAt: number | null;
}

/** Why a signature does not hold: for the log and the audit, never for the caller. */
export type SignatureReason = Extract<RefusalReason, `signature_${string}`>;

/** A request as its signer saw it. */
export interface SignedRequest {
  readonly method: string;
  /** The request target, as it was sent. */
  readonly url: string;
  /** `Host`, or `:authority`. */
  readonly authority: string;
  /** Names and values in turn, as they were sent: what is combined or dropped must be so by the rules of signatures. */
  readonly rawHeaders: readonly string[];
  /** As net/client-address.ts gives it. */
  readonly clientAddress: string;
  /** `grpc` is native gRPC, whose frames are no bytes that a signature could cover. */
  readonly protocol: 'http' | 'grpc';
  /** Null where the request has no Content-Digest, and until its body was read to the end. */
  bodyDigest(): BodyDigest | null;
}

/** Digests of a request's body as it was sent, still compressed where it was. */
export interface BodyDigest {
  readonly sha256: Buffer;
  readonly sha512: Buffer;
}

/** The one signature of a request that is meant for this gate, read and not yet verified. */
export interface GivenSignature {
  /** Covered component identifiers in their order, without parameters. */
  readonly components: readonly string[];
  /** The value of `@signature-params` (RFC 9421, section 2.3). */
  readonly params: string;
  /** Epoch seconds. */
  readonly created: number;
  readonly expires: number;
  readonly nonce: string;
  readonly keyid: string;
  readonly alg: string;
  readonly signature: Buffer;
}
