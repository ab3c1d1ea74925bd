import type { MessageInitShape } from '@bufbuild/protobuf';
import { type AgentSchema, AgentStateSchema, type KeySchema, KeyState } from '../../gen/portcullis/v1/agent_pb.ts';
import { PrincipalKindSchema } from '../../gen/portcullis/v1/system_pb.ts';
import type { Binding } from '../../identity/model.ts';
import type { AgentRecord, KeyRecord } from '../../identity/records.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function agentMessage(agent: AgentRecord): MessageInitShape<typeof AgentSchema> {
  return {
    id: agent.id,
    projectId: agent.projectId,
    name: agent.name,
    description: agent.description,
    personId: agent.personId ?? undefined,
    issuer: agent.issuer ?? undefined,
    subject: agent.subject ?? undefined,
    state: toEnum(AgentStateSchema, agent.state),
    createTime: toTimestamp(agent.createdAt),
    createdBy: agent.createdBy,
    certificateScopes: [...agent.certificateScopes],
  };
}

export function keyMessage(key: KeyRecord, nowMs: number): MessageInitShape<typeof KeySchema> {
  return {
    id: key.id,
    projectId: key.projectId,
    kind: toEnum(PrincipalKindSchema, key.kind),
    agentId: key.agentId ?? undefined,
    personId: key.personId ?? undefined,
    name: key.name,
    scopes: [...key.scopes],
    models: [...(key.models ?? [])],
    cidrs: [...(key.cidrs ?? [])],
    runId: key.runId ?? undefined,
    state: keyState(key, nowMs),
    createTime: toTimestamp(key.createdAt),
    createdBy: key.createdBy,
    expireTime: toTimestamp(key.expiresAt),
    revokeTime: toTimestamp(key.revokedAt),
    successorId: key.successorId ?? undefined,
    lastUseTime: toTimestamp(key.lastUsedAt),
    requireSignature: key.requireSignature,
    binding: bindingMessage(key.binding),
  };
}

function bindingMessage(binding: Binding | null) {
  if (binding === null) return { case: undefined };
  const { by, value } = binding;
  return by === 'spiffe_id' ? { case: 'boundSpiffeId' as const, value } : { case: 'boundX5tS256' as const, value };
}

function keyState({ revokedAt, expiresAt, successorId }: KeyRecord, nowMs: number): KeyState {
  if (revokedAt !== null) return KeyState.REVOKED;
  if (expiresAt !== null && expiresAt <= nowMs) return KeyState.EXPIRED;
  return successorId === null ? KeyState.ACTIVE : KeyState.EXPIRING;
}
