import type { Queryable, Tx } from '../../pg/tx.ts';

/** A workflow on the public leaderboard. */
export interface PublishedWorkflow {
  readonly projectId: string;
  readonly workflow: string;
  /** By what name strangers see it. */
  readonly title: string;
  readonly publishedBy: string;
  /** Epoch milliseconds. */
  readonly publishedAt: number;
  /** Epoch milliseconds; null while it is public. */
  readonly unpublishedAt: number | null;
}

interface Row {
  readonly project_id: string;
  readonly workflow: string;
  readonly title: string;
  readonly published_by: string;
  readonly published_at: Date;
  readonly unpublished_at: Date | null;
}

const columns = 'project_id, workflow, title, published_by, published_at, unpublished_at';

function fromRow(row: Row): PublishedWorkflow {
  return {
    projectId: row.project_id,
    workflow: row.workflow,
    title: row.title,
    publishedBy: row.published_by,
    publishedAt: row.published_at.getTime(),
    unpublishedAt: row.unpublished_at?.getTime() ?? null,
  };
}

/** The workflow if it is public. */
export async function findPublished(
  db: Queryable,
  projectId: string,
  workflow: string,
): Promise<PublishedWorkflow | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM published_workflows
     WHERE project_id = $1 AND workflow = $2 AND unpublished_at IS NULL`,
    [projectId, workflow],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Whether another public workflow, of any project, has the title, in upper or lower case. */
export async function isTitleTaken(
  db: Queryable,
  { projectId, workflow, title }: Pick<PublishedWorkflow, 'projectId' | 'workflow' | 'title'>,
): Promise<boolean> {
  const { rows } = await db.query(
    `SELECT FROM published_workflows
     WHERE lower(title) = lower($1) AND unpublished_at IS NULL AND (project_id, workflow) <> ($2, $3)`,
    [title, projectId, workflow],
  );
  return rows.length > 0;
}

/** How many are public: of the project, and of all. */
export async function countPublished(
  db: Queryable,
  projectId: string,
): Promise<{ readonly ofProject: number; readonly all: number }> {
  const { rows } = await db.query<{ of_project: bigint; all: bigint }>(
    `SELECT count(*) FILTER (WHERE project_id = $1) AS of_project, count(*) AS "all"
     FROM published_workflows WHERE unpublished_at IS NULL`,
    [projectId],
  );
  return { ofProject: Number(rows[0]?.of_project ?? 0n), all: Number(rows[0]?.all ?? 0n) };
}

/** Makes a workflow public, anew or under another title. */
export async function writePublished(
  tx: Tx,
  version: bigint,
  {
    projectId,
    workflow,
    title,
    publishedBy,
  }: Pick<PublishedWorkflow, 'projectId' | 'workflow' | 'title' | 'publishedBy'>,
): Promise<PublishedWorkflow> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO published_workflows (project_id, workflow, title, published_by, control_version)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (project_id, workflow) DO UPDATE
       SET title = excluded.title, published_by = excluded.published_by, published_at = excluded.published_at,
           unpublished_at = NULL, control_version = excluded.control_version
     RETURNING ${columns}`,
    [projectId, workflow, title, publishedBy, version],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** @returns null where it is not public */
export async function writeUnpublished(
  tx: Tx,
  version: bigint,
  projectId: string,
  workflow: string,
): Promise<PublishedWorkflow | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE published_workflows SET unpublished_at = now(), control_version = $3
     WHERE project_id = $1 AND workflow = $2 AND unpublished_at IS NULL RETURNING ${columns}`,
    [projectId, workflow, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Those of a project that are public, by name. */
export async function selectPublished(
  db: Queryable,
  projectId: string,
  afterWorkflow: string | null,
  limit: number,
): Promise<PublishedWorkflow[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM published_workflows
     WHERE project_id = $1 AND unpublished_at IS NULL AND ($2::text IS NULL OR workflow > $2)
     ORDER BY workflow LIMIT $3`,
    [projectId, afterWorkflow, limit],
  );
  return rows.map(fromRow);
}

/** For the control feed: what changed after `version`; from 0 only what is public. */
export async function publishedSince(db: Queryable, version: bigint): Promise<PublishedWorkflow[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM published_workflows
     WHERE control_version > $1 AND ($1 > 0 OR unpublished_at IS NULL)`,
    [version],
  );
  return rows.map(fromRow);
}
