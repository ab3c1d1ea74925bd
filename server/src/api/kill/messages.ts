import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type KillAcknowledgementSchema,
  KillScopeSchema,
  type KillSwitchSchema,
  KillSwitchState,
} from '../../gen/portcullis/v1/policy_pb.ts';
import type { ReplicaStand } from '../../policy/acknowledgement-store.ts';
import type { StoredKillSwitch } from '../../policy/kill-store.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

/** @param nowMs by the database's clock */
export function killSwitchMessage(kill: StoredKillSwitch, nowMs: number): MessageInitShape<typeof KillSwitchSchema> {
  const { releaseAsk: ask } = kill;
  const state = stateOf(kill, nowMs);
  const endedAt = kill.releasedAt ?? kill.expiresAt;
  return {
    id: kill.id,
    scope: toEnum(KillScopeSchema, kill.scope),
    value: kill.value,
    projectId: kill.projectId ?? undefined,
    reason: kill.reason,
    engagedBy: kill.engagedBy,
    engageTime: toTimestamp(kill.engagedAt),
    expireTime: toTimestamp(kill.expiresAt),
    state,
    drill: kill.drill,
    ...(state === KillSwitchState.RELEASED && { releaseTime: toTimestamp(endedAt) }),
    ...(state === KillSwitchState.RELEASE_ASKED &&
      ask && { releaseAsk: { askedBy: ask.by, personId: ask.personId, expireTime: toTimestamp(ask.until) } }),
  };
}

function stateOf({ releasedAt, expiresAt, releaseAsk, drill }: StoredKillSwitch, nowMs: number): KillSwitchState {
  const isReleased = releasedAt !== null && !(drill && releasedAt > nowMs);
  if (isReleased || (expiresAt !== null && expiresAt <= nowMs)) return KillSwitchState.RELEASED;
  const isAsked = releaseAsk !== null && releaseAsk.until > nowMs;
  return isAsked ? KillSwitchState.RELEASE_ASKED : KillSwitchState.ENGAGED;
}

export function acknowledgementMessage({
  id,
  startedAt,
  seenAt,
  applied,
}: ReplicaStand): MessageInitShape<typeof KillAcknowledgementSchema> {
  return {
    instanceId: id,
    startTime: toTimestamp(startedAt),
    seenTime: toTimestamp(seenAt),
    applyTime: toTimestamp(applied?.at ?? null),
    matchedCalls: BigInt(applied?.calls ?? 0),
    matchedStreams: BigInt(applied?.streams ?? 0),
    endedCalls: BigInt(applied?.ended ?? 0),
  };
}
