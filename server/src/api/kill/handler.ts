import type { ServiceImpl } from '@connectrpc/connect';
import { KillScopeSchema, type PolicyService } from '../../gen/portcullis/v1/policy_pb.ts';
import { killScopes } from '../../policy/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp, wholeSeconds } from '../time.ts';
import { visible } from '../visible.ts';
import { acknowledgementMessage, killSwitchMessage } from './messages.ts';

type KillMethods =
  | 'engageKillSwitch'
  | 'releaseKillSwitch'
  | 'confirmKillSwitchRelease'
  | 'getKillSwitch'
  | 'listKillAcknowledgements'
  | 'listKillSwitches';

/** The kill switch's part of PolicyService. */
export function killHandler({
  kills,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof PolicyService>, KillMethods> {
  const message = (kill: Parameters<typeof killSwitchMessage>[0]) => killSwitchMessage(kill, feed.databaseNow());
  return {
    async engageKillSwitch(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { value, reason, drill, ttl } = request;
      const scope = fromEnum(KillScopeSchema, killScopes, request.scope, 'scope');
      const expiresAt = fromTimestamp('expire_time', request.expireTime);
      const ttlMs = ttl === undefined ? null : wholeSeconds('ttl', ttl) * 1000;
      const asked = { scope, value, projectId, reason, expiresAt, ttlMs, drill };
      const engaged = kills.engage(principal, requestId, asked);
      // A replica whose state is too old lets nothing through anyhow: nobody must wait for it to stop others.
      const kill = feed.staleness() === null ? await visible(feed, engaged) : (await engaged).result;
      return { killSwitch: message(kill) };
    },

    async releaseKillSwitch(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const released = kills.release(principal, requestId, { id: request.killSwitchId, projectId });
      return { killSwitch: message(await visible(feed, released)) };
    },

    async confirmKillSwitchRelease(request, context) {
      const { principal, requestId, projectId } = callerOf(context, undefined);
      const released = kills.confirmRelease(principal, requestId, { id: request.killSwitchId, projectId });
      return { killSwitch: message(await visible(feed, released)) };
    },

    async getKillSwitch(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return { killSwitch: message(await kills.get({ id: request.killSwitchId, projectId })) };
    },

    async listKillAcknowledgements(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const named = { id: request.killSwitchId, projectId };
      const page = await kills.replicas(principal, named, pageTokens.read(list, request));
      return {
        acknowledgements: page.items.map(acknowledgementMessage),
        nextPageToken: pageTokens.next(list, page),
      };
    },

    async listKillSwitches(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await kills.list(projectId, pageTokens.read(list, request));
      return { killSwitches: page.items.map(message), nextPageToken: pageTokens.next(list, page) };
    },
  };
}
