import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { type ProjectService, type SessionSchema, SignInMethodSchema } from '../../gen/portcullis/v1/project_pb.ts';
import type { Principal } from '../../identity/model.ts';
import type { SessionRecord } from '../../identity/sessions/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

type SessionMethods = 'listSessions' | 'endSession';

export function sessionMethods({
  sessions,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof ProjectService>, SessionMethods> {
  return {
    async listSessions(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await sessions.list(principal, projectId, request.own, pageTokens.read(list, request));
      return {
        sessions: page.items.map((session) => sessionMessage(session, principal)),
        nextPageToken: pageTokens.next(list, page),
      };
    },

    async endSession(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const ended = await sessions.end(principal, requestId, { projectId, id: request.sessionId });
      return { session: sessionMessage(ended, principal) };
    },
  };
}

function sessionMessage(session: SessionRecord, by: Principal): MessageInitShape<typeof SessionSchema> {
  const { id, projectId, principalId, personId, keyId, address, userAgent } = session;
  return {
    id,
    projectId,
    principalId,
    personId: personId ?? undefined,
    keyId: keyId ?? undefined,
    method: toEnum(SignInMethodSchema, session.method),
    createTime: toTimestamp(session.createdAt),
    lastUseTime: toTimestamp(session.lastUsedAt),
    expireTime: toTimestamp(session.expiresAt),
    clientAddress: address,
    userAgent,
    current: id === by.sessionId,
  };
}
