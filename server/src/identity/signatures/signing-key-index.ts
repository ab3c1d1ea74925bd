import { type KeyObject, createHmac, createSecretKey, timingSafeEqual, verify } from 'node:crypto';
import { type SealingKey, openSecret } from '../../base/sealed-secret.ts';
import type { ControlPart } from '../../pg/control-feed.ts';
import type { Queryable } from '../../pg/tx.ts';
import type { SignatureAlgorithm } from './model.ts';
import { publicKeyObject } from './public-key.ts';
import { type StoredSigningKey, signingKeysSince } from './store.ts';

/** What verifying needs of a signing key. */
export interface VerifyingKey {
  readonly id: string;
  readonly keyId: string;
  readonly algorithm: SignatureAlgorithm;
  readonly key: KeyObject;
}

/** The keys that sign requests in memory, as new as the control feed. */
export class SigningKeyIndex implements ControlPart {
  readonly name = 'signing keys';
  readonly #sealing: SealingKey;
  readonly #onUnreadable: (id: string) => void;
  readonly #keys = new Map<string, VerifyingKey>();

  /** @param onUnreadable told of a key whose secret cannot be opened: what it signs is refused, and nothing else suffers */
  constructor(sealing: SealingKey, onUnreadable: (id: string) => void) {
    this.#sealing = sealing;
    this.#onUnreadable = onUnreadable;
  }

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const stored = await signingKeysSince(db, since);
    return () => {
      for (const row of stored) {
        const key = row.revokedAt === null ? keyObjectOf(row, this.#sealing) : null;
        if (key) this.#keys.set(row.id, { id: row.id, keyId: row.keyId, algorithm: row.algorithm, key });
        else this.#keys.delete(row.id);
        if (!key && row.revokedAt === null) this.#onUnreadable(row.id);
      }
    };
  }

  /** Null for one that was revoked or never heard of. */
  find(id: string): VerifyingKey | null {
    return this.#keys.get(id) ?? null;
  }
}

/** What a sealed secret is sealed for. */
export function sealingContext(signingKeyId: string): string {
  return `signing key ${signingKeyId}`;
}

function keyObjectOf({ id, publicKey, sealedSecret }: StoredSigningKey, sealing: SealingKey): KeyObject | null {
  if (publicKey) return publicKeyObject(publicKey);
  const secret = sealedSecret && openSecret(sealing, sealedSecret, sealingContext(id));
  return secret ? createSecretKey(secret) : null;
}

/** Whether `signature` is one over `base`; the time of a comparison tells nothing. */
export function holds({ algorithm, key }: VerifyingKey, base: Buffer, signature: Buffer): boolean {
  if (algorithm === 'ed25519') return verify(null, base, key, signature);
  const expected = createHmac('sha256', key).update(base).digest();
  return signature.length === expected.length && timingSafeEqual(signature, expected);
}
