import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { reasonCharsMax, subjectCharsMax } from '../base/limits.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite } from '../pg/tx.ts';
import { findAgent, insertAgent, selectAgents, setAgentDisabled } from './agent-store.ts';
import { checkLine, checkName, invalid } from './input.ts';
import { checkScopes } from './key-input.ts';
import { requireUnlimited } from './key-limits.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { requireMayGrant } from './permission.ts';
import type { AgentRecord } from './records.ts';
import { requireActivePerson, requireProject } from './references.ts';

export interface NewAgent {
  readonly projectId: string;
  readonly name: string;
  readonly description: string;
  /** Who answers for it. */
  readonly personId: string | null;
  /** The identity under which an issuer of access tokens knows it: both or none. */
  readonly issuer: string | null;
  readonly subject: string | null;
  /** What it may ask for by its client certificate alone; none when left out. */
  readonly certificateScopes?: readonly string[];
}

/** Agents: what calls, with keys of its own or as a subject of an issuer. */
export class AgentService {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * A caller can pass on no scope that it lacks, nor limits that it has.
   * @throws PortcullisError invalid_argument, insufficient_scope, policy_denied, not_found (project, person), conflict
   * (name or subject taken, person disabled)
   */
  async create(by: Principal, requestId: string, request: NewAgent): Promise<{ result: AgentRecord; version: bigint }> {
    const { projectId, personId, issuer, subject } = request;
    const name = checkName(request.name);
    const description = checkLine('description', request.description, 0, reasonCharsMax);
    if ((issuer === null) !== (subject === null)) {
      throw invalid('subject', 'issuer and subject go together: give both or neither.');
    }
    // Compared with a token's claims as they stand, so nothing is trimmed.
    for (const [param, text] of Object.entries({ issuer, subject })) {
      if (text !== null && checkLine(param, text, 1, subjectCharsMax) !== text) {
        throw invalid(param, `${param} must not begin or end with a blank.`);
      }
    }
    const certificateScopes = checkScopes('certificate_scopes', request.certificateScopes ?? [], 'agent');
    if (certificateScopes.length > 0) {
      requireMayGrant(by, certificateScopes);
      requireUnlimited(by, 'certificate');
    }
    // Whoever has a token of that subject is the agent, also without the caller's key.
    if (issuer !== null) requireUnlimited(by, 'token');
    try {
      return await controlWrite(this.#pool, async (tx, version) => {
        await requireProject(tx, projectId);
        if (personId !== null) await requireActivePerson(tx, projectId, personId);
        const id = newId('agt');
        const agent = await insertAgent(tx, version, {
          id,
          projectId,
          name,
          description,
          personId,
          issuer,
          subject,
          certificateScopes,
          createdBy: by.id,
        });
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'agent.created',
          target: id,
          projectId,
          requestId,
          payload: { name, person_id: personId, issuer, subject, certificate_scopes: certificateScopes },
        });
        return agent;
      });
    } catch (error) {
      throw conflictOf(error, request) ?? error;
    }
  }

  /** Stops an agent's keys and tokens, and ends its calls in flight; twice changes nothing the second time. @throws PortcullisError not_found */
  async disable(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: AgentRecord; version: bigint }> {
    const { projectId, id } = request;
    return controlWrite(this.#pool, async (tx, version) => {
      const agent = await findAgent(tx, projectId, id);
      if (!agent) throw noAgent(id);
      const disabled = await setAgentDisabled(tx, version, id);
      if (!disabled) return agent;
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'agent.disabled',
        target: id,
        projectId,
        requestId,
        payload: { name: agent.name },
      });
      return disabled;
    });
  }

  /** @throws PortcullisError not_found */
  async get(projectId: string, id: string): Promise<AgentRecord> {
    const agent = await findAgent(this.#pool, projectId, id);
    if (!agent) throw noAgent(id);
    return agent;
  }

  /** Agents of a project, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<AgentRecord>> {
    return readPage(page, (beforeId, limit) => selectAgents(this.#pool, projectId, beforeId, limit));
  }
}

function noAgent(id: string): PortcullisError {
  return new PortcullisError('not_found', `There is no agent ${id.slice(0, 100)} in this project.`);
}

function conflictOf(error: unknown, { name, issuer }: NewAgent): PortcullisError | null {
  if (violates(error, 'agents_project_id_name_key')) {
    return new PortcullisError('conflict', `There is an agent "${name.trim()}" in this project already.`, {
      cause: error,
    });
  }
  if (violates(error, 'agents_project_id_issuer_subject_key')) {
    return new PortcullisError('conflict', `This subject of ${issuer} is registered for an agent already.`, {
      cause: error,
    });
  }
  return null;
}
