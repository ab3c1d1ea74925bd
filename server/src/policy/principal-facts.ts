import type { Principal } from '../identity/model.ts';
import type { Facts } from './facts.ts';

/** What conditions see of a caller. */
export function principalFacts(principal: Principal): Facts['principal'] {
  const { kind, id, name, agentId, personId, keyId, teams, scopes } = principal;
  return { kind, id, name, agent: agentId, person: personId, key: keyId, teams, scopes: [...scopes] };
}
