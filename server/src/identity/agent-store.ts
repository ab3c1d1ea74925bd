import type { Queryable, Tx } from '../pg/tx.ts';
import type { AgentRecord, State } from './records.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly name: string;
  readonly description: string;
  readonly person_id: string | null;
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly certificate_scopes: string[];
  readonly state: State;
  readonly created_at: Date;
  readonly created_by: string;
}

const columns = `id, project_id, name, description, person_id, issuer, subject, certificate_scopes, state, created_at,
  created_by`;

function fromRow(row: Row): AgentRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    name: row.name,
    description: row.description,
    personId: row.person_id,
    issuer: row.issuer,
    subject: row.subject,
    certificateScopes: row.certificate_scopes,
    state: row.state,
    createdAt: row.created_at.getTime(),
    createdBy: row.created_by,
  };
}

export async function insertAgent(
  tx: Tx,
  version: bigint,
  agent: Omit<AgentRecord, 'state' | 'createdAt'>,
): Promise<AgentRecord> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO agents (id, project_id, name, description, person_id, issuer, subject, certificate_scopes, created_by,
       control_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${columns}`,
    [
      agent.id,
      agent.projectId,
      agent.name,
      agent.description,
      agent.personId,
      agent.issuer,
      agent.subject,
      agent.certificateScopes,
      agent.createdBy,
      version,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

export async function findAgent(db: Queryable, projectId: string, id: string): Promise<AgentRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM agents WHERE id = $1 AND project_id = $2`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

export async function findAgentByName(db: Queryable, projectId: string, name: string): Promise<AgentRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM agents WHERE project_id = $1 AND name = $2`, [
    projectId,
    name,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** @returns null when the agent is disabled already */
export async function setAgentDisabled(tx: Tx, version: bigint, id: string): Promise<AgentRecord | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE agents SET state = 'disabled', control_version = $2 WHERE id = $1 AND state = 'active' RETURNING ${columns}`,
    [id, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Agents of the project, newest first, from below `beforeId` (null: from the newest). */
export async function selectAgents(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<AgentRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM agents WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** For the control feed: what changed after `version`. */
export async function agentsSince(db: Queryable, version: bigint): Promise<AgentRecord[]> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM agents WHERE control_version > $1`, [version]);
  return rows.map(fromRow);
}
