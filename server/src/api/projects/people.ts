import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  PersonRoleSchema,
  type PersonSchema,
  PersonStateSchema,
  type ProjectService,
  type UpdatePersonRequest,
} from '../../gen/portcullis/v1/project_pb.ts';
import type { PersonChange } from '../../identity/person-service.ts';
import type { PersonRecord } from '../../identity/records.ts';
import { roles as roleNames } from '../../identity/roles.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum, toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';
import { changesIn } from '../update-mask.ts';
import { visible } from '../visible.ts';

type PersonMethods = 'createPerson' | 'listPeople' | 'updatePerson' | 'disablePerson' | 'enablePerson' | 'unlinkPerson';

export function peopleMethods({
  people,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof ProjectService>, PersonMethods> {
  return {
    async createPerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { email, name } = request;
      const created = people.create(principal, requestId, { projectId, email, name });
      return { person: personMessage(await visible(feed, created)) };
    },

    async listPeople(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await people.list(projectId, pageTokens.read(list, request));
      return { people: page.items.map(personMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async updatePerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const updated = people.update(principal, requestId, personChange(request, projectId));
      return { person: personMessage(await visible(feed, updated)) };
    },

    async disablePerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const disabled = people.disable(principal, requestId, { projectId, id: request.personId });
      return { person: personMessage(await visible(feed, disabled)) };
    },

    async enablePerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const enabled = people.enable(principal, requestId, { projectId, id: request.personId });
      return { person: personMessage(await visible(feed, enabled)) };
    },

    async unlinkPerson(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const unlinked = people.unlink(principal, requestId, { projectId, id: request.personId });
      return { person: personMessage(await visible(feed, unlinked)) };
    },
  };
}

function personChange(request: UpdatePersonRequest, projectId: string): PersonChange {
  const { updateMask, name, roles, teamIds } = request;
  const given = { name, roles, team_ids: teamIds.length === 0 ? undefined : teamIds };
  const changes = changesIn(updateMask, given);
  return {
    projectId,
    id: request.personId,
    name: changes.has('name') ? (name ?? '') : undefined,
    roles: changes.has('roles')
      ? (roles?.roles.map((role) => fromEnum(PersonRoleSchema, roleNames, role, 'roles')) ?? null)
      : undefined,
    teams: changes.has('team_ids') ? teamIds : undefined,
  };
}

export function personMessage(person: PersonRecord): MessageInitShape<typeof PersonSchema> {
  const { id, projectId, email, name, state, roles, issuer, subject } = person;
  return {
    id,
    projectId,
    email,
    name,
    state: toEnum(PersonStateSchema, state),
    createTime: toTimestamp(person.createdAt),
    ...(roles === null ? {} : { roles: { roles: roles.map((role) => toEnum(PersonRoleSchema, role)) } }),
    teamIds: [...person.teams],
    issuer: issuer ?? undefined,
    subject: subject ?? undefined,
    lastSignInTime: toTimestamp(person.lastSignInAt),
  };
}
