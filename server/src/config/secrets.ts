import { type KeyObject, createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/** Keys derived from the master key, one a purpose (HKDF-SHA-256, RFC 5869): knowing one tells nothing of another. */
export interface DerivedKeys {
  readonly keyPepper: KeyObject;
  readonly pageTokens: Buffer;
}

export function deriveKeys(masterKey: string): DerivedKeys {
  const derive = (label: string) => Buffer.from(hkdfSync('sha256', masterKey, '', `portcullis ${label}`, 32));
  return { keyPepper: createSecretKey(derive('api key pepper')), pageTokens: derive('page tokens') };
}

/** The master key in `path`, made at the first start; readable by its owner alone, and never overwritten. */
export function masterKeyIn(path: string): string {
  try {
    const file = openSync(path, 'wx', 0o600);
    try {
      writeSync(file, `${randomBytes(32).toString('base64url')}\n`);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  return readFileSync(path, 'utf8').trim();
}
