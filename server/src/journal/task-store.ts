import type { Queryable, Tx } from '../pg/tx.ts';
import type { Task, TaskContent, TaskStatus } from './model.ts';
import { type SizedRows, withinAnswer } from './page.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly title: string;
  readonly details: string;
  readonly status: TaskStatus;
  readonly tags: readonly string[];
  readonly revision: bigint;
  readonly created_by: string;
  readonly created_at: Date;
  readonly updated_at: Date;
}

const columns = 'id, project_id, title, details, status, tags, revision, created_by, created_at, updated_at';

function fromRow(row: Row): Task {
  return {
    id: row.id,
    projectId: row.project_id,
    title: row.title,
    details: row.details,
    status: row.status,
    tags: row.tags,
    revision: row.revision,
    createdBy: row.created_by,
    createdAt: row.created_at.getTime(),
    updatedAt: row.updated_at.getTime(),
  };
}

function theRow(rows: readonly Row[]): Task {
  const [row] = rows;
  if (!row) throw new Error('A statement on one task gave no row');
  return fromRow(row);
}

export async function insertTask(
  tx: Tx,
  task: Pick<Task, 'id' | 'projectId' | 'createdBy'> & TaskContent,
): Promise<Task> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO tasks (id, project_id, title, details, status, tags, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${columns}`,
    [task.id, task.projectId, task.title, task.details, task.status, [...task.tags], task.createdBy],
  );
  return theRow(rows);
}

export async function findTask(db: Queryable, projectId: string, id: string): Promise<Task | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM tasks WHERE id = $1 AND project_id = $2`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The task, which nobody else changes until the transaction ends. */
export async function lockTask(tx: Tx, projectId: string, id: string): Promise<Task | null> {
  const { rows } = await tx.query<Row>(`SELECT ${columns} FROM tasks WHERE id = $1 AND project_id = $2 FOR UPDATE`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

export async function updateTask(tx: Tx, id: string, { title, details, status, tags }: TaskContent): Promise<Task> {
  const { rows } = await tx.query<Row>(
    `UPDATE tasks SET title = $2, details = $3, status = $4, tags = $5, revision = revision + 1, updated_at = now()
     WHERE id = $1 RETURNING ${columns}`,
    [id, title, details, status, [...tags]],
  );
  return theRow(rows);
}

export async function deleteTask(tx: Tx, id: string): Promise<void> {
  await tx.query('DELETE FROM tasks WHERE id = $1', [id]);
}

const all = `SELECT ${columns} FROM tasks
  WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`;
// As bounds of rows, and in the order: no other index serves that. With `=` the planner may read all tasks and leave most out.
const ofStatus = `SELECT ${columns} FROM tasks
  WHERE project_id = $1 AND (status, id) > ($4, '') AND (status, id) < ($4, coalesce($2, '~')) ORDER BY status DESC, id DESC LIMIT $3`;

/** Tasks of the project, newest first, from below `beforeId` (null: from the newest). @param status null is any */
export async function selectTasks(
  db: Queryable,
  projectId: string,
  status: TaskStatus | null,
  beforeId: string | null,
  limit: number,
): Promise<SizedRows<Task>> {
  const { rows } = await db.query<Row & { found: bigint }>(
    withinAnswer(status === null ? all : ofStatus, ['title', 'details', "array_to_string(tags, '')"]),
    [projectId, beforeId, limit, ...(status === null ? [] : [status])],
  );
  return { items: rows.map(fromRow), found: Number(rows[0]?.found ?? 0) };
}
