import type { Queryable, Tx } from '../pg/tx.ts';
import type { PersonRecord, State } from './records.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly email: string;
  readonly name: string;
  readonly state: State;
  readonly created_at: Date;
}

const columns = 'id, project_id, email, name, state, created_at';

function fromRow(row: Row): PersonRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    email: row.email,
    name: row.name,
    state: row.state,
    createdAt: row.created_at.getTime(),
  };
}

export async function insertPerson(
  tx: Tx,
  version: bigint,
  person: Pick<PersonRecord, 'id' | 'projectId' | 'email' | 'name'>,
): Promise<PersonRecord> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO people (id, project_id, email, name, control_version) VALUES ($1, $2, $3, $4, $5) RETURNING ${columns}`,
    [person.id, person.projectId, person.email, person.name, version],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

export async function findPerson(db: Queryable, projectId: string, id: string): Promise<PersonRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM people WHERE id = $1 AND project_id = $2`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** @returns null when the person is disabled already */
export async function setPersonDisabled(tx: Tx, version: bigint, id: string): Promise<PersonRecord | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE people SET state = 'disabled', control_version = $2 WHERE id = $1 AND state = 'active' RETURNING ${columns}`,
    [id, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** People of the project, newest first, from below `beforeId` (null: from the newest). */
export async function selectPeople(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<PersonRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM people WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** For the control feed: what changed after `version`. */
export async function peopleSince(db: Queryable, version: bigint): Promise<PersonRecord[]> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM people WHERE control_version > $1`, [version]);
  return rows.map(fromRow);
}
