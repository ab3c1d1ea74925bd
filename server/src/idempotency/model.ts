/** Whose key it is, and for what: the same text of another caller, or for another operation, is another key. */
export interface KeyScope {
  readonly projectId: string;
  /** Kind and id of the principal. */
  readonly principal: string;
  /** A path of the data plane, or a method of the control plane. */
  readonly operation: string;
  readonly key: string;
}

/** A use of a key: the request that it is for, and for how long its owner may take. */
export interface KeyUse {
  readonly scope: KeyScope;
  /** SHA-256 of the request. */
  readonly fingerprint: Buffer;
  /** From the claim: past it nobody can be at work on it any more. */
  readonly leaseMs: number;
}

/** A key that is ours to work under. Only its owner can end it. */
export interface Claim {
  /** SHA-256 of the scope. */
  readonly id: Buffer;
  readonly claimId: string;
  /** Epoch milliseconds. */
  readonly leaseUntil: number;
}

/** What is known of a key that was used before; times are epoch milliseconds. */
export interface KeyRecord {
  readonly fingerprint: Buffer;
  readonly leaseUntil: number;
  readonly finishedAt: number | null;
  /** Sealed. */
  readonly answer: Buffer | null;
  /** The control version that the answer tells of; null for none. */
  readonly version: bigint | null;
}

/** What becomes of a request whose key was used before. */
export type Standing = 'replay' | 'mismatch' | 'in_progress' | 'unknown' | 'not_kept';
