import type { Page } from '../identity/page.ts';
import type { Queryable } from '../pg/tx.ts';
import { type RunSpan, selectRunSpans } from './run-store.ts';

/** Behind what was told: within a run behind a key, or below the run. */
export interface RunPlace {
  readonly runId: string;
  readonly key: string | null;
}

/** Selects rows of the runs behind the place (null: from the first), in descending order of run and key. */
export type SelectOfRuns<T> = (
  runs: readonly RunSpan[],
  behind: RunPlace | null,
  limit: number,
) => Promise<readonly T[]>;

/**
 * Reads rows that only their runs lead to: of some of the project's runs at a time, newest first, with one look for all of
 * these. A page can be empty and not be the last.
 * @param keyOf what finds a row within its run
 */
export async function readOfRuns<T extends { readonly runId: string }>(
  db: Queryable,
  projectId: string,
  cursor: string | null,
  bounds: { readonly runsMax: number; readonly rowsMax: number },
  select: SelectOfRuns<T>,
  keyOf: (row: T) => string,
): Promise<Page<T & { readonly cursor: string }>> {
  const place = cursor === null ? null : (JSON.parse(cursor) as RunPlace);
  const runs = await selectRunSpans(db, projectId, place, bounds.runsMax);
  const rows = runs.length === 0 ? [] : await select(runs, place, bounds.rowsMax);
  const items = rows.map((row) => ({ ...row, cursor: cursorAt({ runId: row.runId, key: keyOf(row) }) }));
  const lastRow = items.length === bounds.rowsMax ? items.at(-1) : undefined;
  if (lastRow !== undefined) return { items, nextCursor: lastRow.cursor };
  const lastRun = runs.length === bounds.runsMax ? runs.at(-1) : undefined;
  return { items, nextCursor: lastRun === undefined ? null : cursorAt({ runId: lastRun.id, key: null }) };
}

function cursorAt(place: RunPlace): string {
  return JSON.stringify(place);
}
