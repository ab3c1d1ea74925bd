import type { ServiceImpl } from '@connectrpc/connect';
import { PrincipalKindSchema, type SystemService } from '../../gen/portcullis/v1/system_pb.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function systemHandler({ serverVersion, signatures }: ServiceDeps): ServiceImpl<typeof SystemService> {
  return {
    getSelf(_request, context) {
      const { principal } = callerOf(context, undefined);
      return {
        serverVersion,
        signatureRequired: principal.requiresSignature,
        signedScopes: [...signatures.signedScopes(principal.projectId)].toSorted(),
        principal: {
          kind: toEnum(PrincipalKindSchema, principal.kind),
          id: principal.id,
          name: principal.name,
          projectId: principal.projectId,
          scopes: [...principal.scopes].toSorted(),
          agentId: principal.agentId ?? undefined,
          personId: principal.personId ?? undefined,
          keyId: principal.keyId ?? undefined,
          runId: principal.runId ?? undefined,
          expireTime: toTimestamp(principal.expiresAt),
        },
      };
    },
  };
}
