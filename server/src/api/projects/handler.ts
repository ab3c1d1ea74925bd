import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  Durability,
  DurabilitySchema,
  type ProjectSchema,
  type ProjectService,
  type UpdateProjectRequest,
} from '../../gen/portcullis/v1/project_pb.ts';
import type { ProjectChange } from '../../identity/project-service.ts';
import { durabilities, type ProjectRecord } from '../../identity/records.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum, toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';
import { changesIn } from '../update-mask.ts';
import { visible } from '../visible.ts';
import { loginMethods } from './logins.ts';
import { peopleMethods } from './people.ts';
import { sessionMethods } from './sessions.ts';
import { teamMethods } from './teams.ts';

export function projectHandler(deps: ServiceDeps): ServiceImpl<typeof ProjectService> {
  const { projects, feed, pageTokens } = deps;
  return {
    async createProject({ name }, context) {
      const { principal, requestId } = callerOf(context, undefined);
      return { project: projectMessage(await visible(feed, projects.create(principal, requestId, { name }))) };
    },

    async listProjects(request, context) {
      const { projectId } = callerOf(context, undefined);
      const list = { method: context.method, projectId };
      const page = await projects.list(pageTokens.read(list, request));
      return { projects: page.items.map(projectMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async updateProject(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const updated = projects.update(principal, requestId, projectChange(request, projectId));
      return { project: projectMessage(await visible(feed, updated)) };
    },

    ...peopleMethods(deps),
    ...teamMethods(deps),
    ...sessionMethods(deps),
    ...loginMethods(deps),
  };
}

function projectChange({ updateMask, name, durability }: UpdateProjectRequest, id: string): ProjectChange {
  const changes = changesIn(updateMask, { name, durability });
  return {
    id,
    name: changes.has('name') ? (name ?? '') : undefined,
    durability: changes.has('durability')
      ? fromEnum(DurabilitySchema, durabilities, durability ?? Durability.UNSPECIFIED, 'durability')
      : undefined,
  };
}

export function projectMessage({
  id,
  name,
  durability,
  createdAt,
}: ProjectRecord): MessageInitShape<typeof ProjectSchema> {
  return { id, name, durability: toEnum(DurabilitySchema, durability), createTime: toTimestamp(createdAt) };
}
