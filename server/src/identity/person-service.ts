import { isDeepStrictEqual } from 'node:util';
import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { teamsPerPersonMax } from '../base/limits.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite, type Queryable, type Tx } from '../pg/tx.ts';
import { checkEmail, checkName, invalid } from './input.ts';
import { requireUnlimited } from './key-limits.ts';
import { scopesOfKeysOf } from './key-store.ts';
import { endLoginsOfPerson } from './logins/issue.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { requireMayGrant } from './permission.ts';
import { findPerson, insertPerson, selectPeople, updatePerson } from './person-store.ts';
import { requireProject } from './references.ts';
import type { PersonRecord, State } from './records.ts';
import { type Role, roles, scopesOfRoles } from './roles.ts';
import { isScope, type Scope } from './scopes.ts';
import { type Ending, endSessionsOf } from './sessions/ending.ts';
import { findTeams } from './team-store.ts';

export interface PersonChange {
  readonly projectId: string;
  readonly id: string;
  /** What is undefined stays as it is. */
  readonly name?: string | undefined;
  /** Null: their keys have the scopes that they were made with. */
  readonly roles?: readonly Role[] | null | undefined;
  /** Ids. */
  readonly teams?: readonly string[] | undefined;
}

/** People: who answers for agents, holds keys of their own, and may sign in. */
export class PersonService {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @throws PortcullisError invalid_argument, not_found (the project), conflict (the address is taken) */
  async create(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly email: string; readonly name: string },
  ): Promise<{ result: PersonRecord; version: bigint }> {
    const email = checkEmail(request.email);
    const name = checkName(request.name);
    const { projectId } = request;
    try {
      return await controlWrite(this.#pool, async (tx, version) => {
        await requireProject(tx, projectId);
        const person = await insertPerson(tx, version, { id: newId('psn'), projectId, email, name });
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'person.created',
          target: person.id,
          projectId,
          requestId,
          payload: { email, name },
        });
        return person;
      });
    } catch (error) {
      if (!violates(error, 'people_project_id_email_key')) throw error;
      throw new PortcullisError('conflict', `There is a person with the address ${email} in this project already.`, {
        cause: error,
      });
    }
  }

  /**
   * Changes a person; roles and teams decide from the next call of theirs on. Nobody gives a role with a scope that they
   * lack, nor gives keys back such a scope by unsetting roles, nor does either with a credential that is limited. The same
   * change again changes nothing and leaves no entry.
   * @throws PortcullisError invalid_argument, insufficient_scope, policy_denied, not_found (person, team)
   */
  async update(
    by: Principal,
    requestId: string,
    change: PersonChange,
  ): Promise<{ result: PersonRecord; version: bigint }> {
    const { projectId, id } = change;
    const name = change.name === undefined ? undefined : checkName(change.name);
    // In one order, without repetition, so that the same roles are the same.
    const given = change.roles && roles.filter((role) => change.roles?.includes(role));
    const teams = change.teams && [...new Set(change.teams)].toSorted();
    if (teams && teams.length > teamsPerPersonMax) {
      throw invalid('team_ids', `team_ids must have ${teamsPerPersonMax} entries at most.`);
    }
    return controlWrite(this.#pool, async (tx, version) => {
      const before = await requirePerson(tx, projectId, id);
      const granted = await scopesGranted(tx, before, given);
      requireMayGrant(by, granted ?? [], 'a person');
      if (granted) requireUnlimited(by, 'person');
      if (teams) await requireTeams(tx, projectId, teams);
      const after: PersonRecord = {
        ...before,
        name: name ?? before.name,
        roles: given === undefined ? before.roles : given,
        teams: teams ?? before.teams,
      };
      if (isDeepStrictEqual(after, before)) return before;
      await updatePerson(tx, version, after);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'person.updated',
        target: id,
        projectId,
        requestId,
        payload: { before: changeable(before), after: changeable(after) },
      });
      return after;
    });
  }

  /**
   * Ends the sessions and logins of a person, and stops their keys and those of the agents that they answer for; twice changes nothing
   * the second time.
   * @throws PortcullisError not_found
   */
  disable(
    by: Principal,
    requestId: string,
    named: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: PersonRecord; version: bigint }> {
    return this.#setState(by, requestId, named, 'disabled');
  }

  /**
   * Lets a disabled person act again, with the keys and agents that they had; sessions and logins stay ended.
   * @throws PortcullisError not_found, policy_denied (by a credential that is limited)
   */
  async enable(
    by: Principal,
    requestId: string,
    named: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: PersonRecord; version: bigint }> {
    requireUnlimited(by, 'person');
    return this.#setState(by, requestId, named, 'active');
  }

  /**
   * Forgets which account at the identity provider a person is, and ends their sessions and logins; twice changes nothing the second
   * time.
   * @throws PortcullisError not_found
   */
  async unlink(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: PersonRecord; version: bigint }> {
    return controlWrite(this.#pool, async (tx, version) => {
      const before = await requirePerson(tx, projectId, id);
      if (before.subject === null) return before;
      const after = { ...before, issuer: null, subject: null };
      await updatePerson(tx, version, after);
      const ending = { actor: { kind: by.kind, id: by.id }, requestId, how: 'unlinked' } as const;
      const ended = await endAllOf(tx, version, id, ending);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'person.updated',
        target: id,
        projectId,
        requestId,
        payload: { before: changeable(before), after: changeable(after), ...ended },
      });
      return after;
    });
  }

  /** People of a project, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<PersonRecord>> {
    return readPage(page, (beforeId, limit) => selectPeople(this.#pool, projectId, beforeId, limit));
  }

  async #setState(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
    state: State,
  ): Promise<{ result: PersonRecord; version: bigint }> {
    return controlWrite(this.#pool, async (tx, version) => {
      const before = await requirePerson(tx, projectId, id);
      if (before.state === state) return before;
      const after = { ...before, state };
      await updatePerson(tx, version, after);
      const ending = { actor: { kind: by.kind, id: by.id }, requestId, how: 'person_disabled' } as const;
      const ended = state === 'disabled' ? await endAllOf(tx, version, id, ending) : {};
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: state === 'disabled' ? 'person.disabled' : 'person.enabled',
        target: id,
        projectId,
        requestId,
        payload: { email: before.email, name: before.name, ...ended },
      });
      return after;
    });
  }
}

/** What the audit log says of a person before and after a change. */
export function changeable(person: PersonRecord): { readonly [name: string]: JsonValue } {
  const { email, name, issuer, subject } = person;
  return { email, name, issuer, subject, roles: person.roles, teams: person.teams };
}

/** What a change of roles lets the person do that they may not do now; null where it lets them do nothing more. */
async function scopesGranted(
  db: Queryable,
  { id, roles: held }: PersonRecord,
  given: readonly Role[] | null | undefined,
): Promise<Scope[] | null> {
  if (given === undefined || (given === null && held === null)) return null;
  // Unset, roles bound the person's keys no longer.
  if (given === null) return (await scopesOfKeysOf(db, id)).filter(isScope);
  const added = given.filter((role) => held?.includes(role) !== true);
  return added.length === 0 ? null : [...scopesOfRoles(added)];
}

/** Ends sessions and logins of a person. @returns how many, for the audit log */
async function endAllOf(tx: Tx, version: bigint, id: string, ending: Ending): Promise<{ [name: string]: number }> {
  return {
    sessions_ended: await endSessionsOf(tx, id, 0, ending),
    logins_ended: await endLoginsOfPerson(tx, version, id),
  };
}

async function requirePerson(db: Queryable, projectId: string, id: string): Promise<PersonRecord> {
  const person = await findPerson(db, projectId, id);
  if (!person) throw new PortcullisError('not_found', `There is no person ${id.slice(0, 100)} in this project.`);
  return person;
}

async function requireTeams(db: Queryable, projectId: string, ids: readonly string[]): Promise<void> {
  const found = new Set((await findTeams(db, projectId, ids)).map((team) => team.id));
  const missing = ids.find((id) => !found.has(id));
  if (missing === undefined) return;
  throw new PortcullisError('not_found', `There is no team ${missing.slice(0, 100)} in this project.`);
}
