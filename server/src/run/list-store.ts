import { leastId } from '../base/ids.ts';
import type { Queryable } from '../pg/tx.ts';
import type { RunFilter, ServedFilter } from './list-filter.ts';
import type { ListedRun, RunTotals } from './model.ts';
import { runColumns, runFromRow, type RunRow } from './store.ts';
import { nothingUsed } from './totals-json.ts';
import { countedColumns } from './totals-store.ts';

/** Where nothing is counted yet, all that is counted is null. */
type Row = RunRow & RunTotals & { readonly events: bigint | null; readonly model: string };

/** Above every id that can be made, in any collation: their first digit is 7 at most. */
const aboveAll = 'run_8';

/**
 * Newest first, from below `beforeId` (null: from the newest). What is counted is looked up for the page alone.
 *
 * The filter stands in the order too, and as bounds of rows: nothing but its index serves that. With `=` the planner takes the
 * list of everything and leaves out what does not match, wherever it believes that little is left out. An agent of another
 * project has no run here, and none of its own is read to find that out.
 */
export async function selectRuns(
  db: Queryable,
  { projectId, from, to }: Pick<RunFilter, 'projectId' | 'from' | 'to'>,
  { agentId, set }: ServedFilter,
  beforeId: string | null,
  limit: number,
): Promise<ListedRun[]> {
  const list = agentId === null ? (['project_id', projectId] as const) : (['agent_id', agentId] as const);
  const columns = [list, ...set].map(([column]) => column);
  const values = [list, ...set].map(([, value]) => value);
  const wanted = values.map((_, n) => `$${n + 6}`).join(', ');
  const [first, before] = [from === null ? '' : leastId('run', from), to === null ? aboveAll : leastId('run', to)];
  const end = beforeId !== null && beforeId < before ? beforeId : before;
  const { rows } = await db.query<Row>(
    `SELECT r.*, ${countedColumns}, t.events, t.model
     FROM (
       SELECT ${runColumns} FROM runs
       WHERE (${columns.join(', ')}, id) >= (${wanted}, $4) AND (${columns.join(', ')}, id) < (${wanted}, $5)
         AND ${columns.map((column) => `${column} IS NOT NULL`).join(' AND ')}
         AND ($2::text IS NULL OR EXISTS (SELECT FROM agents WHERE id = $2 AND project_id = $1))
       ORDER BY ${columns.map((column) => `${column} DESC`).join(', ')}, id DESC LIMIT $3
     ) AS r LEFT JOIN run_totals t ON t.run_id = r.id
     ORDER BY r.id DESC`,
    [projectId, agentId, limit, first, end, ...values],
  );
  return rows.map(fromRow);
}

function fromRow(row: Row): ListedRun {
  const { id, events, model } = row;
  const listed = { id, run: runFromRow(row) };
  return events === null
    ? { ...listed, totals: nothingUsed, events: 0n, model: '' }
    : { ...listed, totals: row, events, model };
}
