import type { Queryable, Tx } from '../pg/tx.ts';
import type { Benchmark } from './model.ts';
import { type SizedRows, withinAnswer } from './page.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly workflow: string;
  readonly provider_type: Benchmark['providerType'];
  readonly provider: string;
  readonly model: string;
  readonly tokens_input: bigint;
  readonly tokens_output: bigint;
  readonly cost_nanousd: bigint;
  readonly latency_ms: number;
  readonly quality_score: number | null;
  readonly notes: string;
  readonly recorded_by: string;
  readonly recorded_at: Date;
}

const columns = `id, project_id, workflow, provider_type, provider, model, tokens_input, tokens_output, cost_nanousd, latency_ms,
  quality_score, notes, recorded_by, recorded_at`;

function fromRow(row: Row): Benchmark {
  return {
    id: row.id,
    projectId: row.project_id,
    workflow: row.workflow,
    providerType: row.provider_type,
    provider: row.provider,
    model: row.model,
    tokensInput: row.tokens_input,
    tokensOutput: row.tokens_output,
    costUsd: row.cost_nanousd,
    latencyMs: row.latency_ms,
    qualityScore: row.quality_score,
    notes: row.notes,
    recordedBy: row.recorded_by,
    recordedAt: row.recorded_at.getTime(),
  };
}

export async function insertBenchmark(tx: Tx, made: Omit<Benchmark, 'recordedAt'>): Promise<Benchmark> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO benchmarks (id, project_id, workflow, provider_type, provider, model, tokens_input, tokens_output, cost_nanousd,
       latency_ms, quality_score, notes, recorded_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING ${columns}`,
    [
      made.id,
      made.projectId,
      made.workflow,
      made.providerType,
      made.provider,
      made.model,
      made.tokensInput,
      made.tokensOutput,
      made.costUsd,
      made.latencyMs,
      made.qualityScore,
      made.notes,
      made.recordedBy,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

const all = `SELECT ${columns} FROM benchmarks
  WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`;
// As bounds of rows, and in the order: no other index serves that. With `=` the planner may read all benchmarks and leave most
// out. Knowing the workflow, it would take the bounds for next to nothing, and sort: a subquery tells it nothing. The last bound
// leaves out whole days.
const ofWorkflow = `SELECT ${columns} FROM benchmarks
  WHERE project_id = $1 AND (workflow, id) > ((SELECT $4), '') AND (workflow, id) < ((SELECT $4), coalesce($2, '~'))
    AND ($2::text IS NULL OR id < $2) ORDER BY workflow DESC, id DESC LIMIT $3`;

/** Benchmarks of the project, newest first, from below `beforeId` (null: from the newest). @param workflow null is any */
export async function selectBenchmarks(
  db: Queryable,
  projectId: string,
  workflow: string | null,
  beforeId: string | null,
  limit: number,
): Promise<SizedRows<Benchmark>> {
  const { rows } = await db.query<Row & { found: bigint }>(
    withinAnswer(workflow === null ? all : ofWorkflow, ['notes']),
    [projectId, beforeId, limit, ...(workflow === null ? [] : [workflow])],
  );
  return { items: rows.map(fromRow), found: Number(rows[0]?.found ?? 0) };
}
