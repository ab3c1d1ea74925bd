import { createHmac, createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { sealSecret } from '../../server/src/base/sealed-secret.ts';
import type { DerivedKeys } from '../../server/src/config/secrets.ts';
import { hashSecret, parseApiKey } from '../../server/src/identity/api-key.ts';
import { sealingContext } from '../../server/src/identity/signatures/signing-key-index.ts';
import { queryAsOwner, type TestDatabase } from './database.ts';

/** A request as it is sent; docs/signatures.md explains the file. */
export interface VectorRequest {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

export interface Vector {
  readonly name: string;
  /** `valid`, or the reason in the log. */
  readonly expected: string;
  readonly times?: number;
  readonly signature_as_it_is?: boolean;
  readonly signed_with: string | null;
  readonly signature_base: string | null;
  readonly request: VectorRequest;
}

interface SigningKey {
  readonly id: string;
  readonly api_key: string | null;
  readonly algorithm: 'ed25519' | 'hmac-sha256';
  readonly public_key?: string;
  readonly private_key?: string;
  readonly secret?: string;
}

interface VectorFile {
  readonly now: number;
  readonly api_keys: Readonly<Record<string, { readonly id: string; readonly text: string }>>;
  readonly signing_keys: Readonly<Record<string, SigningKey>>;
  readonly rfc9421: {
    readonly request: VectorRequest;
    readonly signatures: readonly {
      readonly algorithm: 'ed25519' | 'hmac-sha256';
      readonly public_key?: string;
      readonly secret?: string;
      readonly components: readonly string[];
      readonly params: string;
      readonly signature: string;
    }[];
  };
  readonly vectors: readonly Vector[];
}

export const vectorFile = JSON.parse(
  readFileSync(resolve(import.meta.dirname, '../vectors/http-signatures.json'), 'utf8'),
) as VectorFile;

/** Signs a base with a key of the file, as RFC 9421, section 3.3, says. */
export function signWith(name: string, base: string): string {
  const { algorithm, private_key: pem = '', secret = '' } = vectorFile.signing_keys[name]!;
  const bytes = Buffer.from(base, 'latin1');
  return algorithm === 'ed25519'
    ? sign(null, bytes, createPrivateKey(pem)).toString('base64')
    : createHmac('sha256', Buffer.from(secret, 'base64url')).update(bytes).digest('base64');
}

/**
 * Puts the API keys of the file, which must sign, and their signing keys into a database; they may do everything in `projectId`.
 * @returns the version at which they are there
 */
export async function insertVectorKeys(
  database: TestDatabase,
  projectId: string,
  keys: Pick<DerivedKeys, 'keyPepper' | 'signingSecrets'>,
): Promise<bigint> {
  const [bumped] = await queryAsOwner<{ version: string }>(
    database,
    'UPDATE control_version SET version = version + 1 RETURNING version',
  );
  const { version } = bumped!;
  for (const { id, text } of Object.values(vectorFile.api_keys)) {
    await queryAsOwner(
      database,
      `INSERT INTO api_keys (id, project_id, kind, name, secret_hash, scopes, created_by, require_signature, control_version)
       VALUES ($1, $2, 'operator', 'vectors', $3, '{admin}', 'test', true, $4)`,
      [id, projectId, hashSecret(keys.keyPepper, parseApiKey(text)!.secret), version],
    );
  }
  for (const { id, api_key: owner, algorithm, public_key: point, secret } of Object.values(vectorFile.signing_keys)) {
    if (owner === null) continue;
    const sealed = secret && sealSecret(keys.signingSecrets, Buffer.from(secret, 'base64url'), sealingContext(id));
    await queryAsOwner(
      database,
      `INSERT INTO signing_keys (id, project_id, key_id, algorithm, public_key, sealed_secret, created_by, control_version)
       VALUES ($1, $2, $3, $4, $5, $6, 'test', $7)`,
      [
        id,
        projectId,
        vectorFile.api_keys[owner]!.id,
        algorithm,
        point === undefined ? null : Buffer.from(point, 'base64url'),
        sealed ?? null,
        version,
      ],
    );
  }
  return BigInt(version);
}

/** The API key that a request of the file presents. */
export function presentedKey({ headers }: VectorRequest): string {
  const values = headers.map(([, value]) => value.replace(/^Bearer /, ''));
  return Object.values(vectorFile.api_keys).find(({ text }) => values.includes(text))!.id;
}
