import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import { type Actor, appendAudit } from '../audit/append.ts';
import { newId } from '../base/ids.ts';
import { controlWrite, type Tx } from '../pg/tx.ts';
import { findAgentByName, insertAgent } from './agent-store.ts';
import { checkNewKey, type NewKey } from './key-input.ts';
import { auditPayload, issueKey } from './key-issue.ts';
import { findProjectByName, insertProject } from './project-store.ts';

/** The project of everything that names none. */
export const defaultProjectName = 'default';

const firstAgentName = 'first-agent';

/** What a fresh installation begins with. The texts of the keys are seen here and never again. */
export interface FirstKeys {
  readonly adminKey: string;
  readonly agentId: string;
  readonly agentKey: string;
}

const system: Actor = { kind: 'system', id: 'bootstrap' };

/**
 * Makes the default project where it is missing and, where asked, an operator's admin key and a key of the first agent:
 * at the first start, and whenever the file that held them is gone. Safe to run by several replicas at once.
 */
export async function bootstrap(
  pool: Pool,
  pepper: KeyObject,
  options: { readonly issueKeys: boolean },
): Promise<{ readonly projectId: string; readonly firstKeys: FirstKeys | null }> {
  const found = await findProjectByName(pool, defaultProjectName);
  if (found && !options.issueKeys) return { projectId: found.id, firstKeys: null };
  const { result } = await controlWrite(pool, async (tx, version) => {
    const projectId = await defaultProject(tx, version);
    const firstKeys = options.issueKeys ? await issueFirstKeys(tx, version, pepper, projectId) : null;
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

async function issueFirstKeys(tx: Tx, version: bigint, pepper: KeyObject, projectId: string): Promise<FirstKeys> {
  const agentId = await firstAgent(tx, version, projectId);
  const issue = async (request: Omit<NewKey, 'projectId'>) => {
    // They stand in a file beside the database itself, so an expiry would protect nothing.
    const issued = await issueKey(tx, version, pepper, checkNewKey({ ...request, projectId, lifetimeS: null }), {
      id: system.id,
      personId: null,
      keyId: null,
    });
    await audit(tx, 'key.created', issued.key.id, projectId, auditPayload(issued.key));
    return issued.text;
  };
  return {
    agentId,
    adminKey: await issue({ kind: 'operator', name: 'first admin key', scopes: ['admin'] }),
    agentKey: await issue({
      kind: 'agent',
      agentId,
      name: 'first agent key',
      scopes: ['models:invoke', 'tools:call', 'runs:write'],
    }),
  };
}

async function firstAgent(tx: Tx, version: bigint, projectId: string): Promise<string> {
  const found = await findAgentByName(tx, projectId, firstAgentName);
  if (found) return found.id;
  const id = newId('agt');
  await insertAgent(tx, version, {
    id,
    projectId,
    name: firstAgentName,
    description: 'Made by the first start.',
    personId: null,
    issuer: null,
    subject: null,
    certificateScopes: [],
    createdBy: system.id,
  });
  await audit(tx, 'agent.created', id, projectId, { name: firstAgentName });
  return id;
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
