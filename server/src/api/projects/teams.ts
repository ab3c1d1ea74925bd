import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { ProjectService, TeamSchema } from '../../gen/portcullis/v1/project_pb.ts';
import type { TeamRecord } from '../../identity/records.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { toTimestamp } from '../time.ts';
import { visible } from '../visible.ts';

type TeamMethods = 'createTeam' | 'listTeams' | 'renameTeam' | 'deleteTeam';

export function teamMethods({
  teams,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof ProjectService>, TeamMethods> {
  return {
    async createTeam(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const created = teams.create(principal, requestId, { projectId, name: request.name });
      return { team: teamMessage(await visible(feed, created)) };
    },

    async listTeams(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await teams.list(projectId, pageTokens.read(list, request));
      return { teams: page.items.map(teamMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async renameTeam(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const renamed = teams.rename(principal, requestId, { projectId, id: request.teamId, name: request.name });
      return { team: teamMessage(await visible(feed, renamed)) };
    },

    async deleteTeam(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const deleted = teams.delete(principal, requestId, { projectId, id: request.teamId });
      return { team: teamMessage(await visible(feed, deleted)) };
    },
  };
}

export function teamMessage(team: TeamRecord): MessageInitShape<typeof TeamSchema> {
  const { id, projectId, name, createdAt, createdBy } = team;
  return { id, projectId, name, createTime: toTimestamp(createdAt), createdBy };
}
