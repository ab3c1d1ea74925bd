import type { Queryable } from '../pg/tx.ts';
import { isOwnKey } from './key-store.ts';
import type { AuthMethod, Principal } from './model.ts';

const personalMethods: ReadonlySet<AuthMethod> = new Set<AuthMethod>(['session', 'jwt', 'api_key']);

/**
 * The person who calls, where it is they themselves: signed in, or with an operator's key that they made themselves, or in a
 * session on such a key. Null where the credential may be in other hands: it is shared, a program's, or was made by somebody
 * else.
 */
export async function personWhoCalls(
  db: Queryable,
  { kind, method, agentId, personId, keyId }: Principal,
): Promise<string | null> {
  if (kind !== 'operator' || agentId !== null || !personalMethods.has(method) || personId === null) return null;
  return keyId === null || (await isOwnKey(db, keyId, personId)) ? personId : null;
}
