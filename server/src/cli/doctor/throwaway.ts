import { randomBytes } from 'node:crypto';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { AgentService } from '../../gen/portcullis/v1/agent_pb.ts';
import { ProjectService } from '../../gen/portcullis/v1/project_pb.ts';
import { PrincipalKind } from '../../gen/portcullis/v1/system_pb.ts';
import type { Scope } from '../../identity/scopes.ts';
import type { GateClient } from '../gate-client.ts';
import { present } from '../gate-command.ts';
import { secretOf } from '../key-secret.ts';
import { findListed } from '../paging.ts';

/** An agent and keys for one visit of the doctor, in a project of their own: nothing here touches anybody's work. */
export interface Throwaway {
  readonly projectId: string;
  readonly agentId: string;
  /** An agent's key with models:invoke. */
  readonly caller: OwnKey;
  /** An agent's key without a scope. */
  readonly bare: OwnKey;
  /** A service's key with metrics:read. */
  readonly reader: OwnKey;
  /** A key that was revoked. */
  readonly ended: OwnKey;
  /** Revokes the keys and disables the agent. */
  remove(): Promise<void>;
}

export interface OwnKey {
  readonly id: string;
  readonly secret: string;
}

const projectName = 'portcullis-doctor';
// Whatever happens to the doctor, its keys end soon.
const lifetimeMs = 15 * 60_000;

/** Makes what the doctor needs. It takes a key with the scope admin. */
export async function makeThrowaway(api: GateClient): Promise<Throwaway> {
  const agents = api.of(AgentService);
  const projectId = await ownProject(api);
  const { agent } = await agents.createAgent({
    name: `doctor-${randomBytes(6).toString('hex')}`,
    description: 'Made by portcullis doctor, which disables it when it is done.',
    projectId,
  });
  const agentId = present(agent).id;
  const made: OwnKey[] = [];
  const make = async (name: string, scopes: Scope[], ofAgent: boolean): Promise<OwnKey> => {
    const answer = await agents.createKey({
      name,
      scopes,
      kind: ofAgent ? PrincipalKind.AGENT : PrincipalKind.SERVICE,
      ...(ofAgent ? { agentId } : {}),
      end: { case: 'lifetime', value: durationFromMs(lifetimeMs) },
      projectId,
    });
    made.push({ id: present(answer.key).id, secret: answer.secret });
    return { id: present(answer.key).id, secret: secretOf(answer) };
  };
  const remove = async () => {
    for (const { id } of made) await agents.revokeKey({ keyId: id, projectId });
    await agents.disableAgent({ agentId, projectId });
  };
  try {
    const caller = await make('doctor: calls', ['models:invoke'], true);
    const bare = await make('doctor: no scope', [], true);
    const reader = await make('doctor: metrics', ['metrics:read'], false);
    const ended = await make('doctor: revoked', ['models:invoke'], true);
    await agents.revokeKey({ keyId: ended.id, projectId });
    return { projectId, agentId, caller, bare, reader, ended, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function ownProject(api: GateClient): Promise<string> {
  const projects = api.of(ProjectService);
  const known = await findListed(
    (page) => projects.listProjects(page),
    (answer) => answer.projects,
    ({ name }) => name === projectName,
  );
  return known?.id ?? present((await projects.createProject({ name: projectName })).project).id;
}
