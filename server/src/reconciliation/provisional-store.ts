import type { Queryable, Tx } from '../pg/tx.ts';
import type { ProvisionalAttempt, ToldOutcome } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly agent_id: string;
  readonly client_id: string;
  readonly person_id: string | null;
  readonly key_id: string | null;
  readonly run_id: string | null;
  readonly provider: string;
  readonly model: string;
  readonly tokens_input: bigint;
  readonly tokens_output: bigint;
  readonly tokens_cache_read: bigint;
  readonly tokens_cache_write: bigint;
  readonly cost_nanousd: bigint;
  readonly outcome: ToldOutcome;
  readonly started_at: Date;
  readonly recorded_at: Date;
}

const columns = `id, project_id, agent_id, client_id, person_id, key_id, run_id, provider, model, tokens_input,
  tokens_output, tokens_cache_read, tokens_cache_write, cost_nanousd, outcome, started_at, recorded_at`;

function fromRow(row: Row): ProvisionalAttempt {
  return {
    id: row.id,
    projectId: row.project_id,
    agentId: row.agent_id,
    clientId: row.client_id,
    personId: row.person_id,
    keyId: row.key_id,
    runId: row.run_id,
    provider: row.provider,
    model: row.model,
    tokensInput: row.tokens_input,
    tokensOutput: row.tokens_output,
    tokensCacheRead: row.tokens_cache_read,
    tokensCacheWrite: row.tokens_cache_write,
    costUsd: row.cost_nanousd,
    outcome: row.outcome,
    startedAt: row.started_at.getTime(),
    recordedAt: row.recorded_at.getTime(),
  };
}

/** Lets an agent report one at a time, until the transaction ends: two of one id are one. */
export async function lockReports(tx: Tx, agentId: string): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`provisional ${agentId}`]);
}

export async function findProvisional(
  db: Queryable,
  agentId: string,
  clientId: string,
): Promise<(ProvisionalAttempt & { readonly fingerprint: Buffer }) | null> {
  const { rows } = await db.query<Row & { fingerprint: Buffer }>(
    `SELECT ${columns}, fingerprint FROM provisional_attempts WHERE agent_id = $1 AND client_id = $2`,
    [agentId, clientId],
  );
  return rows[0] ? { ...fromRow(rows[0]), fingerprint: rows[0].fingerprint } : null;
}

export async function insertProvisional(
  tx: Tx,
  told: Omit<ProvisionalAttempt, 'recordedAt'>,
  fingerprint: Buffer,
): Promise<ProvisionalAttempt> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO provisional_attempts (id, project_id, agent_id, client_id, person_id, key_id, run_id, provider, model,
       tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, cost_nanousd, outcome, started_at, fingerprint)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
     RETURNING ${columns}`,
    [
      told.id,
      told.projectId,
      told.agentId,
      told.clientId,
      told.personId,
      told.keyId,
      told.runId,
      told.provider,
      told.model,
      told.tokensInput,
      told.tokensOutput,
      told.tokensCacheRead,
      told.tokensCacheWrite,
      told.costUsd,
      told.outcome,
      new Date(told.startedAt),
      fingerprint,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** Counts one more for the agent on the day. @returns false when that would be more than `max` */
export async function countProvisional(tx: Tx, agentId: string, day: string, max: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO provisional_days AS d (agent_id, day, recorded) VALUES ($1, $2, 1)
     ON CONFLICT (agent_id, day) DO UPDATE SET recorded = d.recorded + 1 WHERE d.recorded < $3`,
    [agentId, day, max],
  );
  return rowCount === 1;
}

/** Whether the agent has such a run, in any state. */
export async function runExists(
  db: Queryable,
  { runId, projectId, agentId }: { readonly runId: string; readonly projectId: string; readonly agentId: string },
): Promise<boolean> {
  const { rowCount } = await db.query('SELECT FROM runs WHERE id = $1 AND project_id = $2 AND agent_id = $3', [
    runId,
    projectId,
    agentId,
  ]);
  return rowCount === 1;
}

/** Which reports are meant; null is any. Times are epoch milliseconds of the attempt's start. */
export interface ProvisionalFilter {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly runId: string | null;
  readonly from: number | null;
  readonly to: number | null;
}

/** Newest first, from below `beforeId` (null: from the newest). */
export async function selectProvisional(
  db: Queryable,
  filter: ProvisionalFilter,
  beforeId: string | null,
  limit: number,
): Promise<ProvisionalAttempt[]> {
  const date = (ms: number | null) => (ms === null ? null : new Date(ms));
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM provisional_attempts
     WHERE project_id = $1 AND ($2::text IS NULL OR agent_id = $2) AND ($3::text IS NULL OR run_id = $3)
       AND ($4::timestamptz IS NULL OR started_at >= $4) AND ($5::timestamptz IS NULL OR started_at < $5)
       AND ($6::text IS NULL OR id < $6)
     ORDER BY id DESC LIMIT $7`,
    [filter.projectId, filter.agentId, filter.runId, date(filter.from), date(filter.to), beforeId, limit],
  );
  return rows.map(fromRow);
}
