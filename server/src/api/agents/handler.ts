import type { ServiceImpl } from '@connectrpc/connect';
import type { AgentService, CreateKeyRequest } from '../../gen/portcullis/v1/agent_pb.ts';
import { PrincipalKindSchema } from '../../gen/portcullis/v1/system_pb.ts';
import type { NewKey } from '../../identity/key-input.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { wholeSeconds } from '../time.ts';
import { visible } from '../visible.ts';
import { agentMessage, keyMessage } from './messages.ts';
import { signingKeyMethods } from './signing-keys.ts';

export function agentHandler(deps: ServiceDeps): ServiceImpl<typeof AgentService> {
  const { agents, keys, feed, pageTokens, clock } = deps;
  return {
    ...signingKeyMethods(deps),

    async createAgent(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { name, description, personId = null, issuer = null, subject = null, certificateScopes } = request;
      const agent = { projectId, name, description, personId, issuer, subject, certificateScopes };
      return { agent: agentMessage(await visible(feed, agents.create(principal, requestId, agent))) };
    },

    async listAgents(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await agents.list(projectId, pageTokens.read(list, request));
      return { agents: page.items.map(agentMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async getAgent(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return { agent: agentMessage(await agents.get(projectId, request.agentId)) };
    },

    async disableAgent(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const disabled = agents.disable(principal, requestId, { projectId, id: request.agentId });
      return { agent: agentMessage(await visible(feed, disabled)) };
    },

    async createKey(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const made = await visible(feed, keys.create(principal, requestId, newKey(request, projectId)));
      return { key: keyMessage(made.key, clock.now()), secret: made.text };
    },

    async listKeys(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await keys.list(projectId, pageTokens.read(list, request));
      const now = clock.now();
      return { keys: page.items.map((key) => keyMessage(key, now)), nextPageToken: pageTokens.next(list, page) };
    },

    async rotateKey(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { keyId: id, overlap } = request;
      const rotation = overlap ? { projectId, id, overlapS: wholeSeconds('overlap', overlap) } : { projectId, id };
      const { key, text, predecessor } = await visible(feed, keys.rotate(principal, requestId, rotation));
      const now = clock.now();
      return { key: keyMessage(key, now), secret: text, predecessor: keyMessage(predecessor, now) };
    },

    async revokeKey(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const revoked = keys.revoke(principal, requestId, { projectId, id: request.keyId });
      return { key: keyMessage(await visible(feed, revoked), clock.now()) };
    },
  };
}

const bindingKinds = { boundX5tS256: 'x5t#S256', boundSpiffeId: 'spiffe_id' } as const;

function newKey(request: CreateKeyRequest, projectId: string): NewKey {
  const { name, agentId = null, personId = null, scopes, models, cidrs, runId = null, end } = request;
  const { requireSignature, binding } = request;
  return {
    projectId,
    name,
    kind: fromEnum(PrincipalKindSchema, ['operator', 'agent', 'service'], request.kind, 'kind'),
    agentId,
    personId,
    scopes,
    models: models.length === 0 ? null : models,
    cidrs: cidrs.length === 0 ? null : cidrs,
    runId,
    requireSignature,
    binding: binding.case === undefined ? null : { by: bindingKinds[binding.case], value: binding.value },
    ...(end.case === 'lifetime' ? { lifetimeS: wholeSeconds('lifetime', end.value) } : {}),
    ...(end.case === 'neverExpires' && end.value ? { lifetimeS: null } : {}),
  };
}
