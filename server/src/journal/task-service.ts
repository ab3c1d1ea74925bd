import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { AuditAction } from '../audit/actions.ts';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Principal } from '../identity/model.ts';
import type { Page, PageRequest } from '../identity/page.ts';
import { requireProject } from '../identity/references.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import { checkTags, checkText, checkTitle, etagOf, type Task, type TaskContent, type TaskStatus } from './model.ts';
import { readSizedPage } from './page.ts';
import { takeRoom } from './quota.ts';
import { deleteTask, findTask, insertTask, lockTask, selectTasks, updateTask } from './task-store.ts';

/** Who writes, and where. */
interface By {
  readonly by: Principal;
  readonly requestId: string;
  readonly projectId: string;
}

interface TaskChange extends By {
  readonly id: string;
  /** What the change was made from; null does not look. */
  readonly etag: string | null;
}

/** Tasks of the journal. */
export class TaskService {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @throws PortcullisError invalid_argument, not_found (the project), rate_limited (too much today) */
  create(order: By & TaskContent): Promise<Task> {
    const { by, projectId } = order;
    const content = checkContent(order);
    return inTransaction(this.#pool, async (tx) => {
      await requireProject(tx, projectId);
      await takeRoom(tx, by, projectId, textsOf(content));
      const task = await insertTask(tx, { id: newId('task'), projectId, createdBy: by.id, ...content });
      await audit(tx, order, 'task.created', task, { status: task.status });
      return task;
    });
  }

  /** @throws PortcullisError not_found */
  async get(projectId: string, id: string): Promise<Task> {
    return required(await findTask(this.#pool, projectId, id), id);
  }

  /**
   * Changes what is given. What changes nothing leaves the task, its etag and the audit log as they were.
   * @throws PortcullisError invalid_argument, not_found, conflict (the etag), rate_limited (too much today)
   */
  update(order: TaskChange & { readonly change: Partial<TaskContent> }): Promise<Task> {
    return inTransaction(this.#pool, async (tx) => {
      const before = await lockedTask(tx, order);
      const after = checkContent({ ...before, ...order.change });
      const changed = contentNames.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
      if (changed.length === 0) return before;
      await takeRoom(tx, order.by, order.projectId, textsOf(after));
      const task = await updateTask(tx, before.id, after);
      // Details may be long, and are not for the audit log to keep.
      const told = changed.filter((name) => name !== 'details');
      const valuesOf = (of: TaskContent) => Object.fromEntries(told.map((name) => [name, jsonOf(of[name])]));
      await audit(tx, order, 'task.updated', task, { changed, before: valuesOf(before), after: valuesOf(after) });
      return task;
    });
  }

  /** @returns the task as it was @throws PortcullisError not_found, conflict (the etag) */
  delete(order: TaskChange): Promise<Task> {
    return inTransaction(this.#pool, async (tx) => {
      const task = await lockedTask(tx, order);
      await deleteTask(tx, task.id);
      await audit(tx, order, 'task.deleted', task, { title: task.title, status: task.status });
      return task;
    });
  }

  /** Newest first. @param status null is any @throws PortcullisError invalid_argument */
  list(projectId: string, status: TaskStatus | null, page: PageRequest): Promise<Page<Task>> {
    return readSizedPage(page, (beforeId, limit) => selectTasks(this.#pool, projectId, status, beforeId, limit));
  }
}

const contentNames = ['title', 'details', 'status', 'tags'] as const satisfies readonly (keyof TaskContent)[];

function checkContent({ title, details, status, tags }: TaskContent): TaskContent {
  return {
    title: checkTitle('title', title),
    details: checkText('details', details),
    status,
    tags: checkTags(tags),
  };
}

function textsOf({ title, details, tags }: TaskContent): readonly string[] {
  return [title, details, ...tags];
}

function jsonOf(value: string | readonly string[]): JsonValue {
  return typeof value === 'string' ? value : [...value];
}

async function lockedTask(tx: Tx, { projectId, id, etag }: TaskChange): Promise<Task> {
  const task = required(await lockTask(tx, projectId, id), id);
  if (etag === null || etag === etagOf(task)) return task;
  throw new PortcullisError(
    'conflict',
    `The task is not the one that this change was made from (etag "${etag.slice(0, 50)}"): somebody changed it, and its etag is "${etagOf(task)}" now. Look at it, and make the change anew.`,
    { param: 'etag' },
  );
}

function required(task: Task | null, id: string): Task {
  if (task !== null) return task;
  throw new PortcullisError('not_found', `There is no task ${id.slice(0, 100)} in this project.`);
}

function audit(
  tx: Tx,
  { by, requestId, projectId }: By,
  action: Extract<AuditAction, `task.${string}`>,
  { id }: Task,
  payload: Readonly<Record<string, JsonValue>>,
): Promise<void> {
  const actor = { kind: by.kind, id: by.id };
  return appendAudit(tx, { actor, action, target: id, projectId, requestId, payload });
}
