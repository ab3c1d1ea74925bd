import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { type KillSwitchSchema, KillScopeSchema, type PolicyService } from '../../gen/portcullis/v1/policy_pb.ts';
import { killScopes, type KillSwitch } from '../../policy/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum, toEnum } from '../enums.ts';
import { fromTimestamp, toTimestamp } from '../time.ts';
import { visible } from '../visible.ts';

export function policyHandler({ kills, feed, pageTokens }: ServiceDeps): ServiceImpl<typeof PolicyService> {
  return {
    async engageKillSwitch(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { value, reason } = request;
      const scope = fromEnum(KillScopeSchema, killScopes, request.scope, 'scope');
      const expiresAt = fromTimestamp('expire_time', request.expireTime);
      const engaged = kills.engage(principal, requestId, { scope, value, projectId, reason, expiresAt });
      return { killSwitch: killSwitchMessage(await visible(feed, engaged)) };
    },

    async releaseKillSwitch(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const released = kills.release(principal, requestId, { id: request.killSwitchId, projectId });
      return { killSwitch: killSwitchMessage(await visible(feed, released)) };
    },

    async listKillSwitches(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await kills.list(projectId, pageTokens.read(list, request));
      return { killSwitches: page.items.map(killSwitchMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function killSwitchMessage(kill: KillSwitch): MessageInitShape<typeof KillSwitchSchema> {
  return {
    id: kill.id,
    scope: toEnum(KillScopeSchema, kill.scope),
    value: kill.value,
    projectId: kill.projectId ?? undefined,
    reason: kill.reason,
    engagedBy: kill.engagedBy,
    engageTime: toTimestamp(kill.engagedAt),
    expireTime: toTimestamp(kill.expiresAt),
  };
}
