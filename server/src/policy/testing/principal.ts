import type { Principal } from '../../identity/model.ts';

/** An operator of the project `prj_a`, for tests. */
export function operatorPrincipal(known: Partial<Principal>): Principal {
  return {
    kind: 'operator',
    id: 'psn_1',
    name: 'Ada',
    projectId: 'prj_a',
    scopes: new Set(['policy:write']),
    method: 'api_key',
    agentId: null,
    personId: null,
    keyId: null,
    runId: null,
    models: null,
    teams: [],
    requiresSignature: false,
    binding: null,
    cidrs: null,
    token: null,
    expiresAt: null,
    ...known,
  };
}
