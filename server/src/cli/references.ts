import { Code, ConnectError } from '@connectrpc/connect';
import { pageSizeMax } from '../base/limits.ts';
import { AgentService } from '../gen/portcullis/v1/agent_pb.ts';
import { ProjectService } from '../gen/portcullis/v1/project_pb.ts';
import { CliError } from './context.ts';
import type { GateClient } from './gate-client.ts';
import type { GateOptions } from './gate-command.ts';
import { findListed } from './paging.ts';

/** The `project_id` of a request; absent where the command line names none. */
export async function projectOf(gate: GateClient, { project }: GateOptions): Promise<{ projectId?: string }> {
  if (project === undefined) return {};
  if (project.startsWith('prj_')) return { projectId: project };
  const found = await findListed(
    (page) => gate.of(ProjectService).listProjects(page),
    ({ projects }) => projects,
    ({ name }) => name === project,
  );
  if (found === undefined) throw new CliError(`There is no project "${project}": \`portcullis projects list\`.`);
  return { projectId: found.id };
}

/** The id of an agent that the command line names by id or name. */
export async function agentIdOf(gate: GateClient, agent: string, project: { projectId?: string }): Promise<string> {
  if (agent.startsWith('agt_')) return agent;
  const found = await findListed(
    (page) => gate.of(AgentService).listAgents({ ...page, ...project }),
    ({ agents }) => agents,
    ({ name }) => name === agent,
  );
  if (found === undefined) throw new CliError(`There is no agent "${agent}": \`portcullis agents list\`.`);
  return found.id;
}

/** The id of a team that the command line names by id or name. */
export async function teamIdOf(gate: GateClient, team: string, project: { projectId?: string }): Promise<string> {
  if (team.startsWith('team_')) return team;
  const found = await findListed(
    (page) => gate.of(ProjectService).listTeams({ ...page, ...project }),
    ({ teams }) => teams,
    ({ name }) => name === team,
  );
  if (found === undefined) throw new CliError(`There is no team "${team}": \`portcullis teams list\`.`);
  return found.id;
}

/** The names of a project's newest teams by id. */
export async function teamNames(gate: GateClient, project: { projectId?: string }): Promise<Map<string, string>> {
  const { teams } = await gate.of(ProjectService).listTeams({ pageSize: pageSizeMax, ...project });
  return new Map(teams.map(({ id, name }) => [id, name]));
}

/** The names of a project's newest agents by id, to show beside or for ids; none for a key that may not list agents. */
export async function agentNames(gate: GateClient, project: { projectId?: string }): Promise<Map<string, string>> {
  try {
    const { agents } = await gate.of(AgentService).listAgents({ pageSize: pageSizeMax, ...project });
    return new Map(agents.map(({ id, name }) => [id, name]));
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.PermissionDenied) return new Map();
    throw error;
  }
}

/**
 * The id of an API key in what was given. Whoever pastes a whole key has put a secret on the command line, where others
 * see it; it goes no further than here.
 */
export function keyIdIn(text: string): string {
  return /^(?:pcl_)?([0-9A-Za-z]{12})(?:_.*)?$/s.exec(text)?.[1] ?? text;
}
