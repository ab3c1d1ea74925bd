import type { Queryable, Tx } from '../pg/tx.ts';
import type { PersonRecord, State } from './records.ts';
import type { Role } from './roles.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly email: string;
  readonly name: string;
  readonly roles: Role[] | null;
  readonly teams: string[];
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly state: State;
  readonly created_at: Date;
  readonly last_sign_in_at: Date | null;
}

const columns = 'id, project_id, email, name, roles, teams, issuer, subject, state, created_at, last_sign_in_at';

function fromRow(row: Row): PersonRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    email: row.email,
    name: row.name,
    roles: row.roles,
    teams: row.teams,
    issuer: row.issuer,
    subject: row.subject,
    state: row.state,
    createdAt: row.created_at.getTime(),
    lastSignInAt: row.last_sign_in_at?.getTime() ?? null,
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
  return findOne(db, 'id = $1 AND project_id = $2', [id, projectId]);
}

/** The person, who does not change until the transaction ends. */
export async function lockPerson(tx: Tx, id: string): Promise<PersonRecord | null> {
  const { rows } = await tx.query<Row>(`SELECT ${columns} FROM people WHERE id = $1 FOR SHARE`, [id]);
  return rows[0] ? fromRow(rows[0]) : null;
}

export async function findPersonByEmail(db: Queryable, projectId: string, email: string): Promise<PersonRecord | null> {
  return findOne(db, 'project_id = $1 AND email = $2', [projectId, email]);
}

/** The person whom an identity provider knows under this subject. */
export async function findPersonBySubject(
  db: Queryable,
  projectId: string,
  issuer: string,
  subject: string,
): Promise<PersonRecord | null> {
  return findOne(db, 'project_id = $1 AND issuer = $2 AND subject = $3', [projectId, issuer, subject]);
}

async function findOne(db: Queryable, condition: string, values: readonly string[]): Promise<PersonRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM people WHERE ${condition}`, [...values]);
  return rows[0] ? fromRow(rows[0]) : null;
}

export async function updatePerson(
  tx: Tx,
  version: bigint,
  person: Pick<PersonRecord, 'id' | 'email' | 'name' | 'roles' | 'teams' | 'issuer' | 'subject' | 'state'>,
): Promise<void> {
  await tx.query(
    `UPDATE people SET email = $2, name = $3, roles = $4, teams = $5, issuer = $6, subject = $7, state = $8,
       control_version = $9
     WHERE id = $1`,
    [
      person.id,
      person.email,
      person.name,
      person.roles,
      person.teams,
      person.issuer,
      person.subject,
      person.state,
      version,
    ],
  );
}

/** Nobody decides by it, so that it needs no control version. */
export async function recordSignIn(tx: Tx, id: string): Promise<void> {
  await tx.query('UPDATE people SET last_sign_in_at = now() WHERE id = $1', [id]);
}

/** Takes everybody out of a team. */
export async function leaveTeam(tx: Tx, version: bigint, projectId: string, teamId: string): Promise<void> {
  await tx.query(
    `UPDATE people SET teams = array_remove(teams, $2), control_version = $3
     WHERE project_id = $1 AND $2 = ANY (teams)`,
    [projectId, teamId, version],
  );
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
