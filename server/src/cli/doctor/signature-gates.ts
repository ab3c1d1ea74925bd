import { SystemService } from '../../gen/portcullis/v1/system_pb.ts';
import { Advice, type DeploymentGate } from './deployment-gate.ts';

// What changes keys, policies and kill switches.
const riskyScopes = ['keys:write', 'policy:write'];

/** Whether a stolen key alone is enough to do the most harm. Asked for in production. */
export const signatureGates: readonly DeploymentGate[] = [
  {
    name: 'signed writes',
    check: async ({ api }) => {
      const { signedScopes } = await api.of(SystemService).getSelf({});
      const unsigned = riskyScopes.filter((scope) => !signedScopes.includes(scope));
      if (unsigned.length === 0) return `${riskyScopes.join(' and ')} take signed requests alone`;
      throw new Advice(
        `whoever has a key alone can use ${unsigned.join(' and ')} (keys, policies, kill switches): name them in signed_scopes of the policy, see docs/signatures.md`,
      );
    },
  },
];
