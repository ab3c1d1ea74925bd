import type { Pool } from 'pg';
import type { BenchOptions } from '../harness/result.ts';
import type { Gate } from './gates.ts';
import { Random } from './random.ts';
import { windowOf } from './reads.ts';
import { agentId, modelName, projectId, projectOf, spread, versionDigest, workflowName } from './seed/cast.ts';
import type { Seeded } from './seed/seed.ts';

const windows = 12;
/** Of a percentile from a histogram (decision 0022). */
const percentileError = 0.045;
/** Of a mean: each time is rounded to a microsecond. */
const meanError = 0.000_01;

/** Sums that a summary and the ledger must agree on, by the names that the API has. */
const sums = {
  attempts: 'count(*) FILTER (WHERE corrects IS NULL)',
  succeeded: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'success')`,
  failed: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'failed')`,
  timedOut: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'timeout')`,
  refused: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'refused')`,
  killed: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'killed')`,
  overBudget: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'budget')`,
  clientClosed: `count(*) FILTER (WHERE corrects IS NULL AND outcome = 'client_closed')`,
  inputTokens: 'coalesce(sum(tokens_input), 0)::bigint',
  outputTokens: 'coalesce(sum(tokens_output), 0)::bigint',
  cacheReadTokens: 'coalesce(sum(tokens_cache_read), 0)::bigint',
  costNanousd: 'coalesce(sum(cost_nanousd), 0)::bigint',
  estimatedNanousd: `coalesce(sum(cost_nanousd) FILTER (WHERE provenance = 'estimated'), 0)::bigint`,
} as const;

type Sums = Readonly<Record<keyof typeof sums, bigint>> & { readonly mean: number | null; readonly p95: number | null };

/** What is told of a window: the window that was really summed, and its sums as text, zeros left out. */
interface Summary {
  readonly startTime: string;
  readonly endTime: string;
  readonly totals?: Readonly<Partial<Record<keyof typeof sums, string>>> & {
    readonly latency?: { readonly meanMs: number; readonly p95Ms?: number };
  };
}

/**
 * Asks for sums of random windows with random filters, and adds up the ledger itself: a benchmark on sums that are wrong
 * would be none. Each attempt counts as what its last correction says.
 * @returns in how many windows the two differ
 */
export async function compareWindows(
  pool: Pool,
  gate: Gate,
  seeded: Seeded,
  { seed, progress }: BenchOptions,
): Promise<number> {
  const random = new Random(seed + 2);
  let wrong = 0;
  for (let number = 0; number < windows; number += 1) {
    const workflow = random.below(spread.workflows);
    const filter = random.pick(filters)(workflow, random);
    const request = { projectId: projectId(projectOf(workflow)), ...windowOf(seeded, random), ...filter };
    const told = await gate.api<Summary>('AnalyticsService/GetTelemetrySummary', request);
    const raw = await addUp(pool, { ...request, startTime: told.startTime, endTime: told.endTime });
    const differing = differences(told, raw, filter);
    const about = `${told.startTime} to ${told.endTime} ${JSON.stringify(filter)}`;
    const verdict = differing.length === 0 ? 'equal to the ledger' : `other than the ledger in ${differing.join(', ')}`;
    progress(`window ${number + 1} of ${windows}, ${about}: ${raw.attempts} attempts, ${verdict}`);
    if (differing.length > 0) wrong += 1;
  }
  return wrong;
}

function differences({ totals }: Summary, raw: Sums, { agentId }: Filter): readonly string[] {
  const names = Object.keys(sums) as (keyof typeof sums)[];
  const different = names.filter((name) => BigInt(totals?.[name] ?? 0) !== raw[name]);
  // Nothing that succeeded has no answer time, and an agent no percentiles.
  const { meanMs, p95Ms } = totals?.latency ?? {};
  const p95 = agentId === undefined ? raw.p95 : null;
  return [
    ...different.map((name) => `${name} (${totals?.[name] ?? 0}, not ${raw[name]})`),
    ...(isNear(meanMs, raw.mean, meanError) ? [] : [`mean (${meanMs} ms, not ${raw.mean})`]),
    ...(isNear(p95Ms, p95, percentileError) ? [] : [`p95 (${p95Ms} ms, not ${p95})`]),
  ];
}

function isNear(told: number | undefined, raw: number | null, error: number): boolean {
  if (told === undefined || raw === null) return told === undefined && raw === null;
  return Math.abs(told / raw - 1) <= error;
}

const filters: readonly ((workflow: number, random: Random) => Filter)[] = [
  () => ({}),
  (workflow) => ({ workflow: workflowName(workflow) }),
  (workflow, random) => ({
    workflow: workflowName(workflow),
    promptVersion: versionDigest(workflow, random.below(spread.versionsPerWorkflow)),
  }),
  (workflow) => ({ model: `${modelName((workflow * 5) % spread.models)}-2026-08-01` }),
  (workflow, random) => ({ agentId: agentId(projectOf(workflow), random.below(spread.agentsPerProject)) }),
];

interface Filter {
  readonly workflow?: string;
  readonly promptVersion?: string;
  readonly model?: string;
  readonly agentId?: string;
}

interface Asked extends Filter {
  readonly projectId: string;
  readonly startTime: string;
  readonly endTime: string;
}

async function addUp(pool: Pool, asked: Asked): Promise<Sums> {
  const { rows } = await pool.query<Sums>(
    `WITH chosen AS (
       SELECT a.* FROM attempts a
       WHERE a.project_id = $1 AND a.started_at >= $2::timestamptz AND a.started_at < $3::timestamptz
         AND a.id >= ledger_day_start(($2::timestamptz AT TIME ZONE 'UTC')::date - 1)
         AND a.id < ledger_day_start(($3::timestamptz AT TIME ZONE 'UTC')::date + 2)
         AND ($4::text IS NULL OR a.workflow = $4) AND ($6::text IS NULL OR a.agent_id = $6)
         AND ($7::text IS NULL OR (a.model_served = $7 AND a.connect_ms IS NOT NULL))
         AND ($5::text IS NULL OR a.run_id IN (SELECT id FROM runs WHERE prompt_version = $5))
     ), known AS (
       SELECT id, corrects, tokens_input, tokens_output, tokens_cache_read, cost_nanousd, total_ms,
         last_value(outcome) OVER of_attempt AS outcome, last_value(provenance) OVER of_attempt AS provenance
       FROM chosen
       WINDOW of_attempt AS (PARTITION BY id ORDER BY corrects IS NOT NULL, row_no
         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
     )
     SELECT ${Object.entries(sums)
       .map(([name, sum]) => `${sum} AS "${name}"`)
       .join(', ')},
       avg(total_ms) FILTER (WHERE corrects IS NULL AND outcome = 'success') AS mean,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY total_ms) FILTER (WHERE corrects IS NULL AND outcome = 'success') AS p95
     FROM known`,
    [asked.projectId, asked.startTime, asked.endTime, asked.workflow, asked.promptVersion, asked.agentId, asked.model],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('an aggregate gave no row');
  return row;
}
