import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite } from '../pg/tx.ts';
import { defaultProjectName } from './bootstrap.ts';
import { checkName } from './input.ts';
import type { Principal } from './model.ts';
import { type Page, type PageRequest, readPage } from './page.ts';
import { findProject, insertProject, selectProjects, updateProject } from './project-store.ts';
import type { Durability, ProjectRecord } from './records.ts';

export interface ProjectChange {
  readonly id: string;
  /** What is undefined stays as it is. */
  readonly name: string | undefined;
  readonly durability: Durability | undefined;
}

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
    return nameTaken(name, () =>
      controlWrite(this.#pool, async (tx, version) => {
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
      }),
    );
  }

  /**
   * The same change again changes nothing and leaves no entry.
   * @throws PortcullisError invalid_argument, not_found, conflict (the name is taken, or is the default project's)
   */
  async update(
    by: Principal,
    requestId: string,
    change: ProjectChange,
  ): Promise<{ result: ProjectRecord; version: bigint }> {
    const name = change.name === undefined ? undefined : checkName(change.name);
    return nameTaken(name ?? '', () =>
      controlWrite(this.#pool, async (tx, version) => {
        const before = await findProject(tx, change.id);
        if (!before) throw new PortcullisError('not_found', `There is no project ${change.id.slice(0, 100)}.`);
        const after = {
          ...before,
          name: name ?? before.name,
          durability: change.durability ?? before.durability,
        };
        if (after.name === before.name && after.durability === before.durability) return before;
        if (before.name === defaultProjectName && after.name !== before.name) {
          throw new PortcullisError(
            'conflict',
            `The project "${defaultProjectName}" keeps its name: what names no project is found by it.`,
          );
        }
        await updateProject(tx, version, after);
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'project.updated',
          target: after.id,
          projectId: after.id,
          requestId,
          payload: { before: changeable(before), after: changeable(after) },
        });
        return after;
      }),
    );
  }

  /** All projects, newest first. @throws PortcullisError invalid_argument */
  list(page: PageRequest): Promise<Page<ProjectRecord>> {
    return readPage(page, (beforeId, limit) => selectProjects(this.#pool, beforeId, limit));
  }
}

function changeable({ name, durability }: ProjectRecord): { readonly name: string; readonly durability: string } {
  return { name, durability };
}

async function nameTaken<T>(name: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!violates(error, 'projects_name_key')) throw error;
    throw new PortcullisError('conflict', `There is a project "${name}" already.`, { cause: error });
  }
}
