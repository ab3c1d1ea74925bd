import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import { type Actor, appendAudit } from '../audit/append.ts';
import { newId } from '../base/ids.ts';
import { controlWrite, type Tx } from '../pg/tx.ts';
import { insertAgent } from './agent-store.ts';
import { checkNewKey, type NewKey } from './key-input.ts';
import { auditPayload, issueKey } from './key-issue.ts';
import { hasAnyKey } from './key-store.ts';
import { findProjectByName, insertProject } from './project-store.ts';

/** The project of everything that names none. */
export const defaultProjectName = 'default';

/** What a fresh installation begins with. The texts of the keys are seen here and never again. */
export interface FirstKeys {
  readonly adminKey: string;
  readonly agentId: string;
  readonly agentKey: string;
}

const system: Actor = { kind: 'system', id: 'bootstrap' };

/**
 * Makes the default project and, only where no key was ever made, an operator's admin key and a first agent with a key
 * of its own. Safe to run at each start, by several replicas at once.
 */
export async function bootstrap(
  pool: Pool,
  pepper: KeyObject,
): Promise<{ readonly projectId: string; readonly firstKeys: FirstKeys | null }> {
  const found = await findProjectByName(pool, defaultProjectName);
  if (found && (await hasAnyKey(pool))) return { projectId: found.id, firstKeys: null };
  const { result } = await controlWrite(pool, async (tx, version) => {
    const projectId = await defaultProject(tx, version);
    const firstKeys = (await hasAnyKey(tx)) ? null : await makeFirstKeys(tx, version, pepper, projectId);
    return { projectId, firstKeys };
  });
  return result;
}

async function defaultProject(tx: Tx, version: bigint): Promise<string> {
  const found = await findProjectByName(tx, defaultProjectName);
  if (found) return found.id;
  const { id, name } = await insertProject(tx, version, { id: newId('prj'), name: defaultProjectName });
  await audit(tx, 'project.created', id, id, { name });
  return id;
}

async function makeFirstKeys(tx: Tx, version: bigint, pepper: KeyObject, projectId: string): Promise<FirstKeys> {
  const agentId = newId('agt');
  const name = 'first-agent';
  await insertAgent(tx, version, {
    id: agentId,
    projectId,
    name,
    description: 'Made by the first start.',
    personId: null,
    issuer: null,
    subject: null,
    createdBy: system.id,
  });
  await audit(tx, 'agent.created', agentId, projectId, { name });
  const issue = async (request: NewKey) => {
    const issued = await issueKey(tx, version, pepper, checkNewKey(request), system.id);
    await audit(tx, 'key.created', issued.key.id, projectId, auditPayload(issued.key));
    return issued.text;
  };
  return {
    agentId,
    adminKey: await issue({ projectId, kind: 'operator', name: 'first admin key', scopes: ['admin'] }),
    agentKey: await issue({
      projectId,
      kind: 'agent',
      agentId,
      name: 'first agent key',
      scopes: ['models:invoke', 'tools:call', 'runs:write'],
    }),
  };
}

function audit(
  tx: Tx,
  action: 'project.created' | 'agent.created' | 'key.created',
  target: string,
  projectId: string,
  payload: Parameters<typeof appendAudit>[1]['payload'],
): Promise<void> {
  return appendAudit(tx, { actor: system, action, target, projectId, requestId: null, payload });
}
