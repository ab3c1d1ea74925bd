import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { LoginSchema, ProjectService } from '../../gen/portcullis/v1/project_pb.ts';
import type { LoginRecord } from '../../identity/logins/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { toTimestamp } from '../time.ts';
import { visible } from '../visible.ts';

type LoginMethods = 'listLogins' | 'endLogin';

export function loginMethods({
  logins,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof ProjectService>, LoginMethods> {
  return {
    async listLogins(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await logins.list(principal, projectId, request.own, pageTokens.read(list, request));
      return { logins: page.items.map(loginMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async endLogin(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const ended = logins.end(principal, requestId, { projectId, id: request.loginId });
      return { login: loginMessage(await visible(feed, ended)) };
    },
  };
}

function loginMessage(login: LoginRecord): MessageInitShape<typeof LoginSchema> {
  const { id, projectId, personId, scopes, clientName, address, createdAt, lastUsedAt, expiresAt } = login;
  return {
    id,
    projectId,
    personId,
    scopes: [...scopes],
    clientName,
    clientAddress: address,
    createTime: toTimestamp(createdAt),
    lastUseTime: toTimestamp(lastUsedAt),
    expireTime: toTimestamp(expiresAt),
  };
}
