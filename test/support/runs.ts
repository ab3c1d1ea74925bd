import { createPool } from '../../server/src/pg/pool.ts';
import { newId } from '../../server/src/base/ids.ts';
import type { Principal } from '../../server/src/identity/model.ts';
import type { Run } from '../../server/src/run/model.ts';
import { queryAsOwner, type TestDatabase, testBounds } from './database.ts';

export const [projectId, otherProjectId] = ['prj_a', 'prj_b'];

/** Two agents of one project, and one of another. */
export async function makeAgents(db: TestDatabase): Promise<void> {
  await queryAsOwner(
    db,
    `INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', 1), ('prj_b', 'b', 1);
     INSERT INTO agents (id, project_id, name, created_by, control_version)
     VALUES ('agt_1', 'prj_a', 'one', 'test', 1), ('agt_2', 'prj_a', 'two', 'test', 1), ('agt_b', 'prj_b', 'b', 'test', 1)`,
  );
}

/** An agent that calls; `agt_b` is of the other project. */
export function agentCaller(id: string, known: Partial<Principal> = {}): Principal {
  return {
    kind: 'agent',
    id,
    name: id,
    projectId: id === 'agt_b' ? otherProjectId : projectId,
    scopes: new Set(['runs:write', 'telemetry:write']),
    method: 'api_key',
    agentId: id,
    personId: null,
    keyId: null,
    runId: null,
    models: null,
    teams: [],
    requiresSignature: false,
    binding: null,
    cidrs: null,
    token: null,
    expiresAt: null,
    ...known,
  };
}

export const operatorCaller = agentCaller('psn_1', { kind: 'operator', agentId: null });

/** Writes a run as it stands. @returns its id */
export async function writeRun(db: TestDatabase, made: Partial<Run> = {}): Promise<string> {
  const startedAt = made.startedAt ?? Date.now();
  const { id = newId('run', startedAt), agentId = 'agt_1', workflow = 'w', state = 'running' } = made;
  const finishedAt = made.finishedAt ?? (state === 'running' ? null : startedAt);
  await queryAsOwner(
    db,
    `INSERT INTO runs (id, project_id, agent_id, workflow, state, task_id, prompt_version, started_at, finished_at, control_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)`,
    [
      id,
      agentId === 'agt_b' ? otherProjectId : projectId,
      agentId,
      workflow,
      state,
      made.taskId ?? null,
      made.promptVersion ?? null,
      new Date(startedAt),
      finishedAt === null ? null : new Date(finishedAt),
    ],
  );
  return id;
}

/** Another pool of the application's role, as another replica has it. */
export function anotherPool(db: TestDatabase): TestDatabase['pool'] {
  return createPool({ ...testBounds, connectionString: db.appUrl });
}
