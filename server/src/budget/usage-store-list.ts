import { PortcullisError } from '../base/errors.ts';
import { idTime } from '../base/ids.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import type { Queryable } from '../pg/tx.ts';
import { ledgerColumns } from './ledger-row.ts';
import type { Attempt, AttemptOutcome, Provenance, ShadowVerdict } from './model.ts';
import { newestFirst } from './partitions.ts';
import { type UsageFilter, filterValues, filtered, lastCorrections, rangeOf } from './usage-store-filter.ts';

/** A row of the ledger as it is read back. */
export interface LedgerEntry {
  /** Its place in the ledger, as text. */
  readonly id: string;
  readonly attempt: Attempt;
  /** What was reserved for it. */
  readonly heldUsd: bigint;
  readonly recordedAt: number;
  readonly shadowVerdicts: readonly ShadowVerdict[];
}

/** Where a page ends: the next one begins below it. */
interface Place {
  readonly attemptId: string;
  readonly rowNo: string;
}

/**
 * The ledger's rows, those of the newest attempts first, each correction above what it corrects. A filter on the outcome
 * finds all rows of the attempts that ended so by what is known of them now, as totals do.
 * @param nowMs where the newest rows are to be looked for; rows of the future are found all the same
 * @param snapshot what was committed when it was taken alone (a pg_snapshot); null is all
 * @throws PortcullisError invalid_argument
 */
export function listAttempts(
  db: Queryable,
  filter: UsageFilter,
  page: PageRequest,
  nowMs: number,
  snapshot: string | null = null,
): Promise<Page<LedgerEntry>> {
  return readPage(page, async (cursor, limit) => {
    const place = cursor === null ? null : readPlace(cursor);
    const newest = (place === null ? null : idTime(place.attemptId)) ?? Math.min(nowMs, filter.to ?? nowMs);
    const rows: Row[] = [];
    for (const range of newestFirst(rangeOf(filter), newest)) {
      const values = [...filterValues(filter, range), filter.outcome, place?.attemptId, place?.rowNo, snapshot];
      rows.push(...(await selectRows(db, values, limit - rows.length)));
      if (rows.length === limit) break;
    }
    return rows.map(fromRow);
  });
}

// A bill agrees with all attempts of a model on a day at once (decision 0017).
const provenanceNow = `CASE WHEN EXISTS (
    SELECT FROM current_reconciled_days r
    WHERE r.state = 'reconciled' AND r.provider = attempts.provider AND r.day = (started_at AT TIME ZONE 'UTC')::date
      AND coalesce(model_served, model_asked, '(none)') = ANY (r.booked_models)
  ) THEN 'reconciled' ELSE provenance END AS provenance`;

const columns = ledgerColumns.map((column) => (column === 'provenance' ? provenanceNow : column));

async function selectRows(db: Queryable, values: readonly unknown[], limit: number): Promise<Row[]> {
  // That the id is at most the cursor's follows from the next condition, but only this one leaves later days out.
  const { rows } = await db.query<Row>(
    `WITH last AS ${lastCorrections}
     SELECT row_no, recorded_at, ${columns.join(', ')}
     FROM attempts WHERE ${filtered}
       AND ($12::text IS NULL OR (outcome = $12 AND id NOT IN (SELECT id FROM last))
         OR id IN (SELECT id FROM last WHERE outcome = $12))
       AND ($13::text IS NULL OR id <= $13) AND ($13::text IS NULL OR (id, row_no) < ($13, $14::bigint))
     AND ($15::pg_snapshot IS NULL OR pg_visible_in_snapshot(tx_id::text::xid8, $15))
     ORDER BY id DESC, row_no DESC LIMIT $16`,
    [...values, limit],
  );
  return rows;
}

/** The cursor of the list from the newest row of an attempt on. */
export function rowsFrom(attemptId: string): string {
  return `${'9'.repeat(18)}.${attemptId}`;
}

function readPlace(cursor: string): Place {
  const [, rowNo, attemptId] = /^(\d{1,18})\.(.+)$/s.exec(cursor) ?? [];
  if (rowNo !== undefined && attemptId !== undefined) return { rowNo, attemptId };
  throw new PortcullisError('invalid_argument', 'page_token is not one that this list gave out.', {
    param: 'page_token',
  });
}

interface Row {
  readonly row_no: bigint;
  readonly recorded_at: Date;
  readonly id: string;
  readonly request_id: string;
  readonly attempt_no: number;
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
  readonly held_nanousd: bigint;
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
    id: `${row.row_no}.${row.id}`,
    heldUsd: row.held_nanousd,
    recordedAt: row.recorded_at.getTime(),
    shadowVerdicts: row.shadow_verdicts ?? [],
    attempt: {
      id: row.id,
      requestId: row.request_id,
      attemptNo: row.attempt_no,
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
