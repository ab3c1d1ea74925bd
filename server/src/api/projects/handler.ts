import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  type PersonSchema,
  PersonStateSchema,
  type ProjectSchema,
  type ProjectService,
} from '../../gen/portcullis/v1/project_pb.ts';
import type { PersonRecord, ProjectRecord } from '../../identity/records.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';
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

function projectMessage({ id, name, createdAt }: ProjectRecord): MessageInitShape<typeof ProjectSchema> {
  return { id, name, createTime: toTimestamp(createdAt) };
}

function personMessage(person: PersonRecord): MessageInitShape<typeof PersonSchema> {
  const { id, projectId, email, name, state, createdAt } = person;
  return { id, projectId, email, name, state: toEnum(PersonStateSchema, state), createTime: toTimestamp(createdAt) };
}
