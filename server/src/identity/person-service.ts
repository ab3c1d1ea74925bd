import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite } from '../pg/tx.ts';
import { checkEmail, checkName } from './input.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { findPerson, insertPerson, selectPeople, setPersonDisabled } from './person-store.ts';
import { requireProject } from './references.ts';
import type { PersonRecord } from './records.ts';

/** People: who answers for agents and holds keys of their own. */
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

  /** Stops the keys of a person and of the agents that they answer for; twice changes nothing the second time. @throws PortcullisError not_found */
  async disable(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: PersonRecord; version: bigint }> {
    const { projectId, id } = request;
    return controlWrite(this.#pool, async (tx, version) => {
      const person = await findPerson(tx, projectId, id);
      if (!person) throw new PortcullisError('not_found', `There is no person ${id.slice(0, 100)} in this project.`);
      const disabled = await setPersonDisabled(tx, version, id);
      if (!disabled) return person;
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'person.disabled',
        target: id,
        projectId,
        requestId,
        payload: { email: person.email, name: person.name },
      });
      return disabled;
    });
  }

  /** People of a project, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<PersonRecord>> {
    return readPage(page, (beforeId, limit) => selectPeople(this.#pool, projectId, beforeId, limit));
  }
}
