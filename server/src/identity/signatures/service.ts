import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { signingKeysPerKeyMax } from '../../base/limits.ts';
import { type SealingKey, sealSecret } from '../../base/sealed-secret.ts';
import { controlWrite, type Queryable } from '../../pg/tx.ts';
import { invalid } from '../input.ts';
import { findKey } from '../key-store.ts';
import type { Principal } from '../model.ts';
import { type Page, type PageRequest, readPage } from '../page.ts';
import { requireScope } from '../permission.ts';
import type { KeyRecord } from '../records.ts';
import type { SignatureAlgorithm, SigningKeyRecord } from './model.ts';
import { readPublicKey } from './public-key.ts';
import { sealingContext } from './signing-key-index.ts';
import {
  activeSigningKeys,
  findSigningKey,
  insertSigningKey,
  selectSigningKeys,
  setSigningKeyRevoked,
} from './store.ts';

/** A key for signatures to be made. */
export interface NewSigningKey {
  readonly projectId: string;
  /** The API key whose requests it shall sign. */
  readonly keyId: string;
  readonly algorithm: SignatureAlgorithm;
  /** PEM or base64url for ed25519, and empty for HMAC, whose secret is made here. */
  readonly publicKey: string;
}

/** A new signing key, and the HMAC secret that whoever asked for it sees now or never; null for ed25519. */
export interface RegisteredSigningKey {
  readonly signingKey: SigningKeyRecord;
  readonly secret: string | null;
}

const secretBytes = 32;

/** Keys for signatures: up to some ed25519 public keys of an API key, or one HMAC secret. */
export class SigningKeyService {
  readonly #pool: Pool;
  readonly #sealing: SealingKey;

  /** @param sealing the same on every replica */
  constructor(pool: Pool, sealing: SealingKey) {
    this.#pool = pool;
    this.#sealing = sealing;
  }

  /** @throws PortcullisError invalid_argument, insufficient_scope, not_found, conflict (the API key has ended, or has enough of them) */
  async register(
    by: Principal,
    requestId: string,
    { projectId, keyId, algorithm, publicKey: text }: NewSigningKey,
  ): Promise<{ result: RegisteredSigningKey; version: bigint }> {
    if (algorithm === 'hmac-sha256' && text !== '') {
      throw invalid('public_key', 'public_key goes with ed25519; the secret of an HMAC key is made by the gate.');
    }
    const publicKey = algorithm === 'ed25519' ? readPublicKey(text) : null;
    const secret = publicKey === null ? randomBytes(secretBytes) : null;
    return controlWrite(this.#pool, async (tx, version) => {
      const owner = await requireKey(tx, projectId, keyId);
      requireMayChange(by, owner);
      if (owner.revokedAt !== null) throw new PortcullisError('conflict', `The key ${owner.id} was revoked.`);
      requireRoom(await activeSigningKeys(tx, owner.id), algorithm, publicKey);
      const id = newId('sgk');
      const sealedSecret = secret && sealSecret(this.#sealing, secret, sealingContext(id));
      const key = { id, projectId, keyId: owner.id, algorithm, publicKey, sealedSecret, createdBy: by.id };
      const signingKey = await insertSigningKey(tx, version, key);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'signing_key.registered',
        target: id,
        projectId,
        requestId,
        payload: { key_id: owner.id, algorithm, public_key: publicKey?.toString('base64url') ?? null },
      });
      return { signingKey, secret: secret?.toString('base64url') ?? null };
    });
  }

  /** What it signs is refused from now on; twice changes nothing the second time. @throws PortcullisError insufficient_scope, not_found */
  async revoke(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: SigningKeyRecord; version: bigint }> {
    return controlWrite(this.#pool, async (tx, version) => {
      const found = await findSigningKey(tx, projectId, id);
      if (!found) {
        throw new PortcullisError('not_found', `There is no signing key ${id.slice(0, 100)} in this project.`);
      }
      requireMayChange(by, await requireKey(tx, projectId, found.keyId));
      const revoked = await setSigningKeyRevoked(tx, version, id);
      if (!revoked) return found;
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'signing_key.revoked',
        target: id,
        projectId,
        requestId,
        payload: { key_id: found.keyId, algorithm: found.algorithm },
      });
      return revoked;
    });
  }

  /** Those of an API key, newest first, revoked ones included. @throws PortcullisError invalid_argument, not_found */
  async list(projectId: string, keyId: string, page: PageRequest): Promise<Page<SigningKeyRecord>> {
    const { id } = await requireKey(this.#pool, projectId, keyId);
    return readPage(page, (beforeId, limit) => selectSigningKeys(this.#pool, id, beforeId, limit));
  }
}

// Else a lesser key could lock every operator out, or sign for one whose key it stole.
function requireMayChange(by: Principal, { scopes }: KeyRecord): void {
  if (scopes.includes('admin')) requireScope(by, 'admin');
}

// Control writes follow one another, so that what was read holds until the insert.
function requireRoom(
  active: readonly SigningKeyRecord[],
  algorithm: SignatureAlgorithm,
  publicKey: Buffer | null,
): void {
  const [first] = active;
  if (first && (algorithm === 'hmac-sha256' || first.algorithm === 'hmac-sha256')) {
    throw new PortcullisError(
      'conflict',
      `The key ${first.keyId} has ${active.length} signing keys: it may have either ed25519 keys or one HMAC secret. Revoke the others first.`,
    );
  }
  if (active.some((known) => publicKey !== null && known.publicKey?.equals(publicKey) === true)) {
    throw new PortcullisError('conflict', 'This public key is registered for this API key already.');
  }
  if (active.length >= signingKeysPerKeyMax) {
    throw new PortcullisError(
      'conflict',
      `An API key may have ${signingKeysPerKeyMax} signing keys: revoke one that is not used.`,
    );
  }
}

async function requireKey(db: Queryable, projectId: string, id: string): Promise<KeyRecord> {
  const key = await findKey(db, projectId, id);
  if (!key) throw new PortcullisError('not_found', `There is no key ${id.slice(0, 100)} in this project.`);
  return key;
}
