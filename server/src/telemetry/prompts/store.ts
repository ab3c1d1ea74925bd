import type { Queryable, Tx } from '../../pg/tx.ts';
import type { PromptVersion } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly workflow: string;
  readonly digest: string;
  readonly label: string;
  readonly notes: string;
  readonly registered_by: string;
  readonly registered_at: Date;
  readonly label_confirmed: boolean;
}

const columns = 'id, project_id, workflow, digest, label, notes, registered_by, registered_at, label_confirmed';

function fromRow(row: Row): PromptVersion {
  return {
    id: row.id,
    projectId: row.project_id,
    workflow: row.workflow,
    digest: row.digest,
    label: row.label,
    notes: row.notes,
    registeredBy: row.registered_by,
    registeredAt: row.registered_at.getTime(),
    isLabelConfirmed: row.label_confirmed,
  };
}

/** @returns null where the digest or the label is registered for the workflow; a registration under way is waited for */
export async function insertPromptVersion(
  tx: Tx,
  version: Omit<PromptVersion, 'registeredAt'>,
): Promise<PromptVersion | null> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, notes, registered_by, label_confirmed)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING ${columns}`,
    [
      version.id,
      version.projectId,
      version.workflow,
      version.digest,
      version.label,
      version.notes,
      version.registeredBy,
      version.isLabelConfirmed,
    ],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Gives a version whose label nobody confirmed another one. @returns null where somebody did */
export async function writeLabel(
  tx: Tx,
  { id, label, isLabelConfirmed }: Pick<PromptVersion, 'id' | 'label' | 'isLabelConfirmed'>,
): Promise<PromptVersion | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE prompt_versions SET label = $2, label_confirmed = $3 WHERE id = $1 AND NOT label_confirmed RETURNING ${columns}`,
    [id, label, isLabelConfirmed],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** A version by its digest. */
export async function findByDigest(
  db: Queryable,
  { projectId, workflow, digest }: Pick<PromptVersion, 'projectId' | 'workflow' | 'digest'>,
): Promise<PromptVersion | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM prompt_versions WHERE project_id = $1 AND workflow = $2 AND digest = $3`,
    [projectId, workflow, digest],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** A version by its label, in upper or lower case. */
export async function findByLabel(
  db: Queryable,
  { projectId, workflow, label }: Pick<PromptVersion, 'projectId' | 'workflow' | 'label'>,
): Promise<PromptVersion | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM prompt_versions WHERE project_id = $1 AND workflow = $2 AND lower(label) = lower($3)`,
    [projectId, workflow, label],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** How many the workflow has of which the label is confirmed, or of which it is not. */
export async function countPromptVersions(
  db: Queryable,
  { projectId, workflow, isLabelConfirmed }: Pick<PromptVersion, 'projectId' | 'workflow' | 'isLabelConfirmed'>,
): Promise<number> {
  const { rows } = await db.query<{ count: bigint }>(
    'SELECT count(*) FROM prompt_versions WHERE project_id = $1 AND workflow = $2 AND label_confirmed = $3',
    [projectId, workflow, isLabelConfirmed],
  );
  return Number(rows[0]?.count ?? 0n);
}

/** Newest first. @param workflow null is every workflow of the project */
export async function selectPromptVersions(
  db: Queryable,
  projectId: string,
  workflow: string | null,
  beforeId: string | null,
  limit: number,
): Promise<PromptVersion[]> {
  // Two statements: the planner must not have to guess which index one needs.
  const ofWorkflow = workflow === null ? '' : 'AND workflow = $4';
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM prompt_versions
     WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ${ofWorkflow} ORDER BY id DESC LIMIT $3`,
    workflow === null ? [projectId, beforeId, limit] : [projectId, beforeId, limit, workflow],
  );
  return rows.map(fromRow);
}
