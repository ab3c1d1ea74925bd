import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  Durability,
  DurabilitySchema,
  type PersonSchema,
  PersonStateSchema,
  type ProjectSchema,
  type ProjectService,
  type UpdateProjectRequest,
} from '../../gen/portcullis/v1/project_pb.ts';
import type { ProjectChange } from '../../identity/project-service.ts';
import { durabilities, type PersonRecord, type ProjectRecord } from '../../identity/records.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum, toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';
import { changesIn } from '../update-mask.ts';
import { visible } from '../visible.ts';

export function projectHandler({
  projects,
  people,
  feed,
  pageTokens,
}: ServiceDeps): ServiceImpl<typeof ProjectService> {
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

    async createPerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { email, name } = request;
      return {
        person: personMessage(await visible(feed, people.create(principal, requestId, { projectId, email, name }))),
      };
    },

    async listPeople(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await people.list(projectId, pageTokens.read(list, request));
      return { people: page.items.map(personMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async disablePerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const disabled = people.disable(principal, requestId, { projectId, id: request.personId });
      return { person: personMessage(await visible(feed, disabled)) };
    },
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

function projectMessage({ id, name, durability, createdAt }: ProjectRecord): MessageInitShape<typeof ProjectSchema> {
  return { id, name, durability: toEnum(DurabilitySchema, durability), createTime: toTimestamp(createdAt) };
}

function personMessage(person: PersonRecord): MessageInitShape<typeof PersonSchema> {
  const { id, projectId, email, name, state, createdAt } = person;
  return { id, projectId, email, name, state: toEnum(PersonStateSchema, state), createTime: toTimestamp(createdAt) };
}
