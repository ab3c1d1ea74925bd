import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { hitlSecretBytesMin, linkTokenCharsMax } from '../../base/approval-limits.ts';
import { type DecisionAction, decisionActions } from '../model.ts';

/** What a link says: which request, who, what they may do with it, until when. */
export interface LinkClaims {
  readonly approvalId: string;
  /** The one person whom it is for. */
  readonly personId: string;
  readonly actions: readonly DecisionAction[];
  /** Seconds since the epoch. */
  readonly expiresAtS: number;
  /** Of the link; it is used once. */
  readonly jti: string;
}

interface LinkKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** HITL_SECRET and those before it: the first signs, all verify. */
export type LinkKeys = readonly LinkKey[];

const keyIdChars = 8;
const tagChars = 43;
const form = new RegExp(`^p1\\.([\\w-]{${keyIdChars}})\\.([\\w-]+)\\.([\\w-]{${tagChars}})$`);

/**
 * @param secrets newest first
 * @throws Error for one that is too short to be one
 */
export function linkKeys(secrets: readonly string[]): LinkKeys {
  return [...new Set(secrets)].map((secret) => {
    if (Buffer.byteLength(secret) < hitlSecretBytesMin) throw new Error('a secret for links is too short');
    const key = createSecretKey(Buffer.from(secret));
    // Tells nothing of the secret, and is the same on all replicas.
    const id = createHmac('sha256', key).update('portcullis approval link key id').digest('base64url');
    return { id: id.slice(0, keyIdChars), key };
  });
}

/** The token of a link, signed with the newest secret. @throws Error where there is none */
export function signLink(keys: LinkKeys, claims: LinkClaims): string {
  const [newest] = keys;
  if (!newest) throw new Error('there is no secret to sign links with');
  const { approvalId, personId, actions, expiresAtS, jti } = claims;
  const payload = Buffer.from(JSON.stringify([approvalId, personId, actions, expiresAtS, jti])).toString('base64url');
  return `p1.${newest.id}.${payload}.${tagOf(newest, payload)}`;
}

/** What a token says, where one of our secrets signed it; null else. Whether it has expired or was used is for the database. */
export function openLink(keys: LinkKeys, token: string): LinkClaims | null {
  const [, keyId = '', payload = '', tag = ''] = (token.length <= linkTokenCharsMax && form.exec(token)) || [];
  const signedWith = keys.find(({ id }) => id === keyId);
  // As text, since several texts are the same bytes in base64.
  if (!signedWith || !timingSafeEqual(Buffer.from(tagOf(signedWith, payload)), Buffer.from(tag))) return null;
  return claimsIn(JSON.parse(Buffer.from(payload, 'base64url').toString()));
}

// We signed it, but an earlier release of ours may have.
function claimsIn(signed: unknown): LinkClaims | null {
  if (!Array.isArray(signed)) return null;
  const [approvalId, personId, actions, expiresAtS, jti] = signed as unknown[];
  if (typeof approvalId !== 'string' || typeof personId !== 'string' || typeof jti !== 'string') return null;
  if (typeof expiresAtS !== 'number' || !Array.isArray(actions)) return null;
  return { approvalId, personId, actions: decisionActions.filter((one) => actions.includes(one)), expiresAtS, jti };
}

function tagOf({ id, key }: LinkKey, payload: string): string {
  return createHmac('sha256', key).update(`portcullis approval link p1.${id}.${payload}`).digest('base64url');
}
