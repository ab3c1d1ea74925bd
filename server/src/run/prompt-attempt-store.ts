import { leastId } from '../base/ids.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import type { PromptAttempt, ToldAttempt, ToldOutcome } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly agent_id: string;
  readonly client_id: string;
  readonly person_id: string | null;
  readonly key_id: string | null;
  readonly run_id: string | null;
  readonly call_id: string;
  readonly attempt_number: number;
  readonly prompt_version: string | null;
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

const columns = `id, project_id, agent_id, client_id, person_id, key_id, run_id, call_id, attempt_number,
  prompt_version, provider, model, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, cost_nanousd,
  outcome, started_at, recorded_at`;

function fromRow(row: Row): PromptAttempt {
  return {
    id: row.id,
    projectId: row.project_id,
    agentId: row.agent_id,
    clientId: row.client_id,
    personId: row.person_id,
    keyId: row.key_id,
    runId: row.run_id,
    callId: row.call_id,
    attemptNumber: row.attempt_number,
    promptVersion: row.prompt_version,
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
): Promise<(PromptAttempt & { readonly fingerprint: Buffer }) | null> {
  const { rows } = await db.query<Row & { fingerprint: Buffer }>(
    `SELECT ${columns}, fingerprint FROM provisional_attempts WHERE agent_id = $1 AND client_id = $2`,
    [agentId, clientId],
  );
  return rows[0] ? { ...fromRow(rows[0]), fingerprint: rows[0].fingerprint } : null;
}

export async function insertProvisional(
  tx: Tx,
  told: Omit<PromptAttempt, 'recordedAt'>,
  fingerprint: Buffer,
): Promise<PromptAttempt> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO provisional_attempts (id, project_id, agent_id, client_id, person_id, key_id, run_id, call_id,
       attempt_number, prompt_version, provider, model, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write,
       cost_nanousd, outcome, started_at, fingerprint)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
     RETURNING ${columns}`,
    [
      told.id,
      told.projectId,
      told.agentId,
      told.clientId,
      told.personId,
      told.keyId,
      told.runId,
      told.callId,
      told.attemptNumber,
      told.promptVersion,
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

/** Whether that attempt of the call was told already. */
export async function isNumberTaken(
  tx: Tx,
  agentId: string,
  { runId, callId, attemptNumber }: Pick<ToldAttempt, 'runId' | 'callId' | 'attemptNumber'>,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `SELECT FROM provisional_attempts
     WHERE agent_id = $1 AND coalesce(run_id, '') = $2 AND call_id = $3 AND attempt_number = $4`,
    [agentId, runId ?? '', callId, attemptNumber],
  );
  return rowCount === 1;
}

/** Which reports are meant; null is any. Times are epoch milliseconds at which they were told. */
export interface PromptAttemptFilter {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly runId: string | null;
  readonly from: number | null;
  readonly to: number | null;
}

/** Newest first, from below `beforeId` (null: from the newest). Of a run, else of an agent, else of the project, each by its index. */
export async function selectAttempts(
  db: Queryable,
  { projectId, agentId, runId, from, to }: PromptAttemptFilter,
  beforeId: string | null,
  limit: number,
): Promise<PromptAttempt[]> {
  const before = to === null ? aboveAll : leastId('prv', to);
  const end = beforeId !== null && beforeId < before ? beforeId : before;
  const [column, value, isTheirs] = listOf({ projectId, agentId, runId });
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM provisional_attempts
     WHERE (${column}, id) >= ($1, $4) AND (${column}, id) < ($1, $5) AND ${column} IS NOT NULL AND ${isTheirs}
     ORDER BY ${column} DESC, id DESC LIMIT $6`,
    [value, projectId, agentId, from === null ? '' : leastId('prv', from), end, limit],
  );
  return rows.map(fromRow);
}

/** The list that serves a filter, and what else must hold: what is not of the project must not be read to find that out. */
function listOf({ projectId, agentId, runId }: Pick<PromptAttemptFilter, 'projectId' | 'agentId' | 'runId'>) {
  const ofAgent = '($3::text IS NULL OR agent_id = $3)';
  if (runId !== null)
    return ['run_id', runId, `EXISTS (SELECT FROM runs WHERE id = $1 AND project_id = $2 AND ${ofAgent})`] as const;
  if (agentId !== null)
    return ['agent_id', agentId, 'EXISTS (SELECT FROM agents WHERE id = $3 AND project_id = $2)'] as const;
  return ['project_id', projectId, '$2::text IS NOT NULL AND $3::text IS NULL'] as const;
}

/** Above every id that can be made, in any collation: their first digit is 7 at most. */
const aboveAll = 'prv_8';
