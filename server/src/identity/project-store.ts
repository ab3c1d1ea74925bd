import type { Queryable, Tx } from '../pg/tx.ts';
import type { Durability, ProjectRecord } from './records.ts';

interface Row {
  readonly id: string;
  readonly name: string;
  readonly durability: Durability;
  readonly created_at: Date;
}

const columns = 'id, name, durability, created_at';

function fromRow(row: Row): ProjectRecord {
  return { id: row.id, name: row.name, durability: row.durability, createdAt: row.created_at.getTime() };
}

export async function insertProject(
  tx: Tx,
  version: bigint,
  project: Pick<ProjectRecord, 'id' | 'name'>,
): Promise<ProjectRecord> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO projects (id, name, control_version) VALUES ($1, $2, $3) RETURNING ${columns}`,
    [project.id, project.name, version],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

export async function updateProject(
  tx: Tx,
  version: bigint,
  { id, name, durability }: Pick<ProjectRecord, 'id' | 'name' | 'durability'>,
): Promise<void> {
  await tx.query('UPDATE projects SET name = $2, durability = $3, control_version = $4 WHERE id = $1', [
    id,
    name,
    durability,
    version,
  ]);
}

export async function findProjectByName(db: Queryable, name: string): Promise<ProjectRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM projects WHERE name = $1`, [name]);
  return rows[0] ? fromRow(rows[0]) : null;
}

export async function findProject(db: Queryable, id: string): Promise<ProjectRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM projects WHERE id = $1`, [id]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Newest first, from below `beforeId` (null: from the newest). */
export async function selectProjects(db: Queryable, beforeId: string | null, limit: number): Promise<ProjectRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM projects WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`,
    [beforeId, limit],
  );
  return rows.map(fromRow);
}

/** For the control feed: what changed after `version`. */
export async function projectsSince(db: Queryable, version: bigint): Promise<ProjectRecord[]> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM projects WHERE control_version > $1`, [version]);
  return rows.map(fromRow);
}
