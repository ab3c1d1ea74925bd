import type { Role } from '../identity/roles.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import type { Approval } from './model.ts';
import { type DeciderFacts, hindranceOf, type Interested } from './rules.ts';

/** A person who may decide, with what it takes to tell them. */
export interface Decider extends DeciderFacts {
  readonly name: string;
}

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly email: string;
  readonly name: string;
  readonly state: string;
  readonly roles: Role[] | null;
  readonly teams: string[];
}

const columns = `id, project_id, email, name, state, roles,
  ARRAY(SELECT teams.name FROM teams WHERE teams.id = ANY (people.teams) AND deleted_at IS NULL) AS teams`;

function fromRow(row: Row): Decider {
  const { id, project_id: projectId, email, name, state, roles, teams } = row;
  return { id, projectId, email, name, active: state === 'active', roles, teams };
}

export async function findDecider(db: Queryable, id: string): Promise<Decider | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM people WHERE id = $1`, [id]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** These people, whose rights do not change until the transaction ends. */
export async function lockDeciders(tx: Tx, ids: readonly string[]): Promise<Decider[]> {
  const { rows } = await tx.query<Row>(
    `SELECT ${columns} FROM people WHERE id = ANY ($1) ORDER BY id FOR SHARE OF people`,
    [ids],
  );
  return rows.map(fromRow);
}

/** Who asked, who answered for them then, and who answers for the agent now. */
export async function interestedIn(db: Queryable, { requester }: Pick<Approval, 'requester'>): Promise<Interested[]> {
  const { rows } = await db.query<{ id: string; email: string }>(
    `SELECT id, email FROM people
     WHERE id = $1 OR id = (SELECT person_id FROM agents WHERE id = $2)`,
    [requester.personId, requester.agentId],
  );
  return rows;
}

/**
 * The people of its project who may decide now, at most `limit`. An administrator of another project may too, and is not
 * among them: nobody tells them of it.
 */
export async function peopleWhoMayDecide(db: Queryable, approval: Approval, limit: number): Promise<Decider[]> {
  const interested = await interestedIn(db, approval);
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM people
     WHERE project_id = $1 AND state = 'active' AND roles && ARRAY['admin', 'approver'] ORDER BY id LIMIT 1000`,
    [approval.projectId],
  );
  return rows
    .map(fromRow)
    .filter((person) => hindranceOf(person, approval, interested) === null)
    .slice(0, limit);
}
