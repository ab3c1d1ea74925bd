import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite } from '../pg/tx.ts';
import { checkName } from './input.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { insertProject, selectProjects } from './project-store.ts';
import type { ProjectRecord } from './records.ts';

/** Projects: the tenants. Who may make and see all of them is for the API to check (`admin`). */
export class ProjectService {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @throws PortcullisError invalid_argument, conflict (the name is taken) */
  async create(
    by: Principal,
    requestId: string,
    request: { readonly name: string },
  ): Promise<{ result: ProjectRecord; version: bigint }> {
    const name = checkName(request.name);
    try {
      return await controlWrite(this.#pool, async (tx, version) => {
        const project = await insertProject(tx, version, { id: newId('prj'), name });
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'project.created',
          target: project.id,
          projectId: project.id,
          requestId,
          payload: { name },
        });
        return project;
      });
    } catch (error) {
      if (!violates(error, 'projects_name_key')) throw error;
      throw new PortcullisError('conflict', `There is a project "${name}" already.`, { cause: error });
    }
  }

  /** All projects, newest first. @throws PortcullisError invalid_argument */
  list(page: PageRequest): Promise<Page<ProjectRecord>> {
    return readPage(page, (beforeId, limit) => selectProjects(this.#pool, beforeId, limit));
  }
}
