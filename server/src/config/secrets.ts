import { type KeyObject, createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { PortcullisError } from '../base/errors.ts';
import { type SealingKey, sealingKeyIdBytes } from '../base/sealed-secret.ts';

/** Keys derived from the master key, one a purpose (HKDF-SHA-256, RFC 5869): knowing one tells nothing of another. */
export interface DerivedKeys {
  readonly keyPepper: KeyObject;
  readonly pageTokens: Buffer;
  /** Signs what browsers keep for us: cookies of sessions, and what a sign-in begun must find again. */
  readonly sessions: KeyObject;
  /** What credentials of logins follow from, with what their rows have. */
  readonly logins: KeyObject;
  /** Seals the answers that are kept to be given again. */
  readonly keptAnswers: KeyObject;
  /** Seals the secrets of signing keys. */
  readonly signingSecrets: SealingKey;
}

export function deriveKeys(masterKey: string): DerivedKeys {
  const derive = (label: string, bytes = 32) =>
    Buffer.from(hkdfSync('sha256', masterKey, '', `portcullis ${label}`, bytes));
  return {
    keyPepper: createSecretKey(derive('api key pepper')),
    pageTokens: derive('page tokens'),
    sessions: createSecretKey(derive('sessions')),
    logins: createSecretKey(derive('logins')),
    keptAnswers: createSecretKey(derive('kept answers')),
    signingSecrets: {
      id: derive('signing secrets id', sealingKeyIdBytes),
      key: createSecretKey(derive('signing secrets')),
    },
  };
}

const masterKeyCharsMin = 32;

/**
 * The master key in `path`, made at the first start; readable by its owner alone, whole or not at all, and never
 * overwritten.
 * @throws PortcullisError invalid_argument when the file does not hold a key: everything derived from it would be public
 */
export function masterKeyIn(path: string): string {
  if (!existsSync(path)) makeMasterKey(path);
  const key = readFileSync(path, 'utf8').trim();
  if (key.length >= masterKeyCharsMin) return key;
  throw new PortcullisError('invalid_argument', `${path} is damaged: put it back from a backup.`);
}

function makeMasterKey(path: string): void {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    linkSync(draft, path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    unlinkSync(draft);
  }
}
