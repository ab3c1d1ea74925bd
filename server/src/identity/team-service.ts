import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { teamsPerProjectMax } from '../base/limits.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite, type Queryable, type Tx } from '../pg/tx.ts';
import { checkName, invalid } from './input.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { leaveTeam } from './person-store.ts';
import { requireProject } from './references.ts';
import type { TeamRecord } from './records.ts';
import { countTeams, findTeams, insertTeam, markTeamDeleted, renameTeam, selectTeams } from './team-store.ts';

interface TeamName {
  readonly projectId: string;
  readonly id: string;
}

/** Teams: what people belong to, for budgets and policies to name. Members are a property of each person. */
export class TeamService {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @throws PortcullisError invalid_argument, not_found (the project), conflict (the name is taken, too many) */
  async create(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly name: string },
  ): Promise<{ result: TeamRecord; version: bigint }> {
    const { projectId } = request;
    const name = checkTeamName(request.name);
    return nameTaken(name, () =>
      controlWrite(this.#pool, async (tx) => {
        await requireProject(tx, projectId);
        return createTeam(tx, by, requestId, { projectId, name });
      }),
    );
  }

  /** The same name again changes nothing and leaves no entry. @throws PortcullisError invalid_argument, not_found, conflict (the name is taken) */
  async rename(
    by: Principal,
    requestId: string,
    { projectId, id, ...change }: TeamName & { readonly name: string },
  ): Promise<{ result: TeamRecord; version: bigint }> {
    const name = checkTeamName(change.name);
    return nameTaken(name, () =>
      controlWrite(this.#pool, async (tx) => {
        const before = await requireTeam(tx, { projectId, id });
        if (before.name === name) return before;
        await renameTeam(tx, id, name);
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'team.renamed',
          target: id,
          projectId,
          requestId,
          payload: { before: before.name, after: name },
        });
        return { ...before, name };
      }),
    );
  }

  /** Ends a team: nobody belongs to it any more, its budgets count no further call, and its name is free again. @throws PortcullisError not_found */
  async delete(by: Principal, requestId: string, team: TeamName): Promise<{ result: TeamRecord; version: bigint }> {
    const { projectId, id } = team;
    return controlWrite(this.#pool, async (tx, version) => {
      const before = await requireTeam(tx, team);
      await markTeamDeleted(tx, id);
      await leaveTeam(tx, version, projectId, id);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'team.deleted',
        target: id,
        projectId,
        requestId,
        payload: { name: before.name },
      });
      return before;
    });
  }

  /** Teams of a project, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<TeamRecord>> {
    return readPage(page, (beforeId, limit) => selectTeams(this.#pool, projectId, beforeId, limit));
  }
}

/** Makes a team within a control write, which keeps others from making one at the same time. @throws PortcullisError conflict (too many) */
export async function createTeam(
  tx: Tx,
  by: Pick<Principal, 'kind' | 'id'>,
  requestId: string,
  { projectId, name }: { readonly projectId: string; readonly name: string },
): Promise<TeamRecord> {
  if ((await countTeams(tx, projectId)) >= teamsPerProjectMax) {
    throw new PortcullisError('conflict', `A project has at most ${teamsPerProjectMax} teams: delete one first.`);
  }
  const team = await insertTeam(tx, { id: newId('team'), projectId, name, createdBy: by.id });
  await appendAudit(tx, {
    actor: { kind: by.kind, id: by.id },
    action: 'team.created',
    target: team.id,
    projectId,
    requestId,
    payload: { name },
  });
  return team;
}

/** @throws PortcullisError invalid_argument */
function checkTeamName(text: string): string {
  const name = checkName(text);
  // The command line takes a name or an id for the same argument.
  if (!name.startsWith('team_')) return name;
  throw invalid('name', 'name must not begin with team_: so do the ids of teams.');
}

async function requireTeam(db: Queryable, { projectId, id }: TeamName): Promise<TeamRecord> {
  const [team] = await findTeams(db, projectId, [id]);
  if (!team) throw new PortcullisError('not_found', `There is no team ${id.slice(0, 100)} in this project.`);
  return team;
}

async function nameTaken<T>(name: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!violates(error, 'teams_name')) throw error;
    throw new PortcullisError('conflict', `There is a team "${name}" in this project already.`, { cause: error });
  }
}
