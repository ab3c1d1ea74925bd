import { PortcullisError } from '../base/errors.ts';
import type { Queryable } from '../pg/tx.ts';
import { findAgent } from './agent-store.ts';
import { findPerson } from './person-store.ts';
import { findProject } from './project-store.ts';
import type { AgentRecord, PersonRecord } from './records.ts';

// What a new row points to must be there, in the same project, and able to act.

/** @throws PortcullisError not_found */
export async function requireProject(db: Queryable, id: string): Promise<void> {
  if (!(await findProject(db, id))) throw new PortcullisError('not_found', `There is no project ${id.slice(0, 100)}.`);
}

/** @throws PortcullisError not_found, conflict (disabled) */
export async function requireActiveAgent(db: Queryable, projectId: string, id: string): Promise<AgentRecord> {
  const agent = await findAgent(db, projectId, id);
  if (!agent) throw new PortcullisError('not_found', `There is no agent ${id.slice(0, 100)} in this project.`);
  if (agent.state === 'disabled') throw new PortcullisError('conflict', `The agent "${agent.name}" is disabled.`);
  return agent;
}

/** @throws PortcullisError not_found, conflict (disabled) */
export async function requireActivePerson(db: Queryable, projectId: string, id: string): Promise<PersonRecord> {
  const person = await findPerson(db, projectId, id);
  if (!person) throw new PortcullisError('not_found', `There is no person ${id.slice(0, 100)} in this project.`);
  if (person.state === 'disabled') throw new PortcullisError('conflict', `The person "${person.name}" is disabled.`);
  return person;
}
