import { PortcullisError } from '../base/errors.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import type { Queryable } from '../pg/tx.ts';
import { ledgerColumns } from './ledger-row.ts';
import type { Attempt, AttemptOutcome, Provenance, ShadowVerdict } from './model.ts';

/** Which attempts are meant; null is any. Times are epoch milliseconds of the attempt's start. */
export interface UsageFilter {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly runId: string | null;
  readonly provider: string | null;
  /** The public name that was asked for. */
  readonly model: string | null;
  readonly from: number | null;
  readonly to: number | null;
}

export const usageGroups = ['agent', 'model', 'provider', 'run', 'day'] as const;
export type UsageGroup = (typeof usageGroups)[number];

/** Sums over attempts, corrections included. */
export interface UsageTotal {
  /** An id or a name; `2026-11-22` for days (UTC); empty where the attempts have none. */
  readonly key: string;
  /** Attempts, each counted once however often it was corrected. */
  readonly attempts: bigint;
  /** Those of them that a rule, a budget or a kill switch refused or stopped. */
  readonly refused: bigint;
  readonly tokensInput: bigint;
  readonly tokensOutput: bigint;
  readonly tokensCacheRead: bigint;
  readonly tokensCacheWrite: bigint;
  readonly tokensReasoning: bigint;
  readonly costUsd: bigint;
  readonly notionalUsd: bigint;
}

/** A row of the ledger as it is read back. */
export interface LedgerEntry {
  /** Its place in the ledger, as text. */
  readonly id: string;
  readonly attempt: Attempt;
  readonly recordedAt: number;
  readonly shadowVerdicts: readonly ShadowVerdict[];
}

const keyOf: Readonly<Record<UsageGroup, string>> = {
  agent: `coalesce(agent_id, '')`,
  model: `coalesce(model_asked, '')`,
  provider: `coalesce(provider, '')`,
  run: `coalesce(run_id, '')`,
  day: `to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')`,
};

const filtered = `project_id = $1
  AND ($2::text IS NULL OR agent_id = $2) AND ($3::text IS NULL OR run_id = $3)
  AND ($4::text IS NULL OR provider = $4) AND ($5::text IS NULL OR model_asked = $5)
  AND ($6::timestamptz IS NULL OR started_at >= $6) AND ($7::timestamptz IS NULL OR started_at < $7)`;

function filterValues(filter: UsageFilter): unknown[] {
  const date = (ms: number | null) => (ms === null ? null : new Date(ms));
  const { projectId, agentId, runId, provider, model, from, to } = filter;
  return [projectId, agentId, runId, provider, model, date(from), date(to)];
}

/** Totals by group: days newest first, all else dearest first; `limit` of them at most. */
export async function sumUsage(
  db: Queryable,
  filter: UsageFilter,
  group: UsageGroup,
  limit: number,
): Promise<UsageTotal[]> {
  const { rows } = await db.query<UsageTotal>(
    `SELECT ${keyOf[group]} AS key,
            count(*) FILTER (WHERE corrects IS NULL) AS attempts,
            count(*) FILTER (WHERE corrects IS NULL AND outcome IN ('refused', 'budget', 'killed')) AS refused,
            sum(tokens_input)::bigint AS "tokensInput",
            sum(tokens_output)::bigint AS "tokensOutput",
            sum(tokens_cache_read)::bigint AS "tokensCacheRead",
            sum(tokens_cache_write_5m + tokens_cache_write_1h)::bigint AS "tokensCacheWrite",
            sum(tokens_reasoning)::bigint AS "tokensReasoning",
            sum(cost_nanousd)::bigint AS "costUsd",
            sum(notional_nanousd)::bigint AS "notionalUsd"
     FROM attempts WHERE ${filtered}
     GROUP BY 1 ORDER BY ${group === 'day' ? '' : '"costUsd" DESC,'} key DESC LIMIT $8`,
    [...filterValues(filter), limit],
  );
  return rows;
}

/** The ledger's rows, newest first, corrections among them. @throws PortcullisError invalid_argument */
export function listAttempts(db: Queryable, filter: UsageFilter, page: PageRequest): Promise<Page<LedgerEntry>> {
  return readPage(page, async (beforeId, limit) => {
    const { rows } = await db.query<Row>(
      `SELECT row_no, recorded_at, ${ledgerColumns.join(', ')}
       FROM attempts WHERE ${filtered} AND ($8::bigint IS NULL OR row_no < $8)
       ORDER BY row_no DESC LIMIT $9`,
      [...filterValues(filter), readCursor(beforeId), limit],
    );
    return rows.map(fromRow);
  });
}

function readCursor(cursor: string | null): string | null {
  if (cursor === null || /^\d{1,18}$/.test(cursor)) return cursor;
  throw new PortcullisError('invalid_argument', 'page_token is not one that this list gave out.', {
    param: 'page_token',
  });
}

interface Row {
  readonly row_no: bigint;
  readonly recorded_at: Date;
  readonly id: string;
  readonly request_id: string;
  readonly project_id: string;
  readonly agent_id: string | null;
  readonly person_id: string | null;
  readonly key_id: string | null;
  readonly run_id: string | null;
  readonly workflow: string | null;
  readonly client_session: string | null;
  readonly route: string | null;
  readonly provider: string | null;
  readonly model_asked: string | null;
  readonly model_served: string | null;
  readonly dialect_in: string;
  readonly dialect_out: string | null;
  readonly streamed: boolean;
  readonly price_version: string | null;
  readonly tokens_input: bigint;
  readonly tokens_output: bigint;
  readonly tokens_cache_read: bigint;
  readonly tokens_cache_write_5m: bigint;
  readonly tokens_cache_write_1h: bigint;
  readonly tokens_reasoning: bigint;
  readonly cost_nanousd: bigint;
  readonly notional_nanousd: bigint;
  readonly provenance: Provenance;
  readonly outcome: AttemptOutcome;
  readonly error_class: string | null;
  readonly rule: string | null;
  readonly started_at: Date;
  readonly queue_ms: number;
  readonly connect_ms: number | null;
  readonly first_token_ms: number | null;
  readonly total_ms: number;
  readonly overrun: boolean;
  readonly corrects: string | null;
  readonly shadow_verdicts: readonly ShadowVerdict[] | null;
}

function fromRow(row: Row): LedgerEntry {
  return {
    id: row.row_no.toString(),
    recordedAt: row.recorded_at.getTime(),
    shadowVerdicts: row.shadow_verdicts ?? [],
    attempt: {
      id: row.id,
      requestId: row.request_id,
      projectId: row.project_id,
      agentId: row.agent_id,
      personId: row.person_id,
      keyId: row.key_id,
      runId: row.run_id,
      workflow: row.workflow,
      clientSession: row.client_session,
      route: row.route,
      provider: row.provider,
      modelAsked: row.model_asked,
      modelServed: row.model_served,
      dialectIn: row.dialect_in,
      dialectOut: row.dialect_out,
      streamed: row.streamed,
      priceVersion: row.price_version,
      usage: {
        input: Number(row.tokens_input),
        output: Number(row.tokens_output),
        cacheRead: Number(row.tokens_cache_read),
        cacheWrite5m: Number(row.tokens_cache_write_5m),
        cacheWrite1h: Number(row.tokens_cache_write_1h),
        reasoning: Number(row.tokens_reasoning),
      },
      costUsd: row.cost_nanousd,
      notionalUsd: row.notional_nanousd,
      provenance: row.provenance,
      outcome: row.outcome,
      errorClass: row.error_class,
      rule: row.rule,
      startedAt: row.started_at.getTime(),
      queueMs: row.queue_ms,
      connectMs: row.connect_ms,
      firstTokenMs: row.first_token_ms,
      totalMs: row.total_ms,
      overrun: row.overrun,
      corrects: row.corrects,
    },
  };
}
