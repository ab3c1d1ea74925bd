import type { Queryable, Tx } from '../pg/tx.ts';
import type { TeamRecord } from './records.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly name: string;
  readonly created_at: Date;
  readonly created_by: string;
}

const columns = 'id, project_id, name, created_at, created_by';

function fromRow(row: Row): TeamRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    name: row.name,
    createdAt: row.created_at.getTime(),
    createdBy: row.created_by,
  };
}

export async function insertTeam(tx: Tx, team: Omit<TeamRecord, 'createdAt'>): Promise<TeamRecord> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO teams (id, project_id, name, created_by) VALUES ($1, $2, $3, $4) RETURNING ${columns}`,
    [team.id, team.projectId, team.name, team.createdBy],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

export async function renameTeam(tx: Tx, id: string, name: string): Promise<void> {
  await tx.query('UPDATE teams SET name = $2 WHERE id = $1', [id, name]);
}

export async function markTeamDeleted(tx: Tx, id: string): Promise<void> {
  await tx.query('UPDATE teams SET deleted_at = now() WHERE id = $1', [id]);
}

/** Of the ids, those of teams of the project that were not deleted. */
export async function findTeams(db: Queryable, projectId: string, ids: readonly string[]): Promise<TeamRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM teams WHERE project_id = $1 AND id = ANY ($2) AND deleted_at IS NULL ORDER BY name`,
    [projectId, ids],
  );
  return rows.map(fromRow);
}

/** The teams of these names that were not deleted. */
export async function findTeamsByName(
  db: Queryable,
  projectId: string,
  names: readonly string[],
): Promise<TeamRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM teams WHERE project_id = $1 AND name = ANY ($2) AND deleted_at IS NULL ORDER BY name`,
    [projectId, names],
  );
  return rows.map(fromRow);
}

export async function countTeams(db: Queryable, projectId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM teams WHERE project_id = $1 AND deleted_at IS NULL',
    [projectId],
  );
  return rows[0]?.count ?? 0;
}

/** Teams of the project, newest first, from below `beforeId` (null: from the newest). */
export async function selectTeams(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<TeamRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM teams
     WHERE project_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}
