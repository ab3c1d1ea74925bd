import type { Queryable, Tx } from '../../pg/tx.ts';
import type { Callback } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly source: string;
  readonly run_id: string | null;
  readonly job_id: string | null;
  readonly created_by: string;
  readonly created_at: Date;
  readonly expires_at: Date;
}

const columns = 'id, project_id, source, run_id, job_id, created_by, created_at, expires_at';

function fromRow(row: Row): Callback {
  return {
    id: row.id,
    projectId: row.project_id,
    source: row.source,
    runId: row.run_id,
    jobId: row.job_id,
    createdBy: row.created_by,
    createdAt: row.created_at.getTime(),
    expiresAt: row.expires_at.getTime(),
  };
}

export async function insertCallback(
  tx: Tx,
  callback: Pick<Callback, 'id' | 'projectId' | 'source' | 'runId' | 'jobId' | 'createdBy'>,
  tokenHash: Buffer,
  lifetimeS: number,
): Promise<Callback> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO webhook_callbacks (id, project_id, source, run_id, job_id, created_by, token_hash, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::int * interval '1 second') RETURNING ${columns}`,
    [
      callback.id,
      callback.projectId,
      callback.source,
      callback.runId,
      callback.jobId,
      callback.createdBy,
      tokenHash,
      lifetimeS,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** How many paths of a project hold, of the first `countedMax`. */
export async function countCallbacks(tx: Tx, projectId: string, countedMax: number): Promise<number> {
  const { rows } = await tx.query<{ found: number }>(
    `SELECT count(*)::int AS found FROM (
       SELECT FROM webhook_callbacks WHERE project_id = $1 AND expires_at > now() LIMIT $2) AS c`,
    [projectId, countedMax],
  );
  return rows[0]?.found ?? 0;
}

/** The callback of a path, while it holds. */
export async function findCallback(db: Queryable, source: string, tokenHash: Buffer): Promise<Callback | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM webhook_callbacks WHERE token_hash = $1 AND source = $2 AND expires_at > now()`,
    [tokenHash, source],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Ties a callback to the job that it first told of. @returns false where it is another job's */
export async function tieToJob(tx: Tx, id: string, jobId: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    'UPDATE webhook_callbacks SET job_id = $2 WHERE id = $1 AND (job_id IS NULL OR job_id = $2)',
    [id, jobId],
  );
  return rowCount === 1;
}

/** Deletes those that ended a day ago, `batchMax` at most. @returns how many */
export async function deleteOldCallbacks(db: Queryable, batchMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM webhook_callbacks WHERE id = ANY (ARRAY(
       SELECT id FROM webhook_callbacks WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT $1))`,
    [batchMax],
  );
  return rowCount ?? 0;
}
