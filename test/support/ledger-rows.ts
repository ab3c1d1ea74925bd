import { newId } from '../../server/src/base/ids.ts';
import type { TestDatabase } from './database.ts';

/** A row of the ledger, of a day that is over: no call that a test makes can be of one. */
export interface PastAttempt {
  readonly projectId: string;
  readonly at: string;
  readonly provider?: string | null;
  readonly model?: string;
  readonly cost: bigint;
  readonly tokens?: number;
  readonly agentId?: string;
  readonly workflow?: string;
  readonly outcome?: string;
  readonly provenance?: string;
  readonly corrects?: string;
}

/** Writes a row of the ledger. @returns its id */
export async function writePastAttempt({ pool }: TestDatabase, row: PastAttempt): Promise<string> {
  const { projectId, at, cost, provider = 'claude', model = 'claude-haiku-4-5', tokens = 100 } = row;
  const id = row.corrects ?? newId('att', Date.parse(at));
  await pool.query(
    `INSERT INTO attempts (id, request_id, project_id, agent_id, workflow, provider, model_asked, model_served, dialect_in, streamed,
       tokens_input, tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning,
       cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun, corrects)
     VALUES ($1, 'req_past', $2, $3, $4, $5, $6, $6, 'chat', false, $7, 0, 0, 0, 0, 0, $8, $9, $10, $11, 0, 1500, false, $12)`,
    [
      id,
      projectId,
      row.agentId ?? null,
      row.workflow ?? null,
      provider,
      model,
      tokens,
      cost,
      row.provenance ?? 'measured',
      row.outcome ?? 'success',
      new Date(at),
      row.corrects ?? null,
    ],
  );
  return id;
}

/** A day (UTC) that is so many days ago, and so over. */
export function pastDay(daysAgo: number): string {
  return new Date(Date.now() - daysAgo * 86_400_000).toISOString().slice(0, 10);
}
