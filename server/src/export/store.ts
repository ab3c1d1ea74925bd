import type { Queryable } from '../pg/tx.ts';
import type { ExportPlace } from './model.ts';

type Begun = Pick<ExportPlace, 'begunAt' | 'snapshot' | 'newestAttempt'>;

/** What is committed now, what time it is by the database, and the newest attempt of the project. */
export async function takeSnapshot(db: Queryable, projectId: string): Promise<Begun> {
  const { rows } = await db.query<{ snapshot: string; now: Date; newest: string | null }>(
    `SELECT pg_current_snapshot()::text AS snapshot, clock_timestamp() AS now,
       (SELECT id FROM attempts WHERE project_id = $1 ORDER BY id DESC LIMIT 1) AS newest`,
    [projectId],
  );
  const [row] = rows;
  if (!row) throw new Error('SELECT without FROM gave no row');
  return { snapshot: row.snapshot, begunAt: row.now.getTime(), newestAttempt: row.newest };
}

/** Whether the snapshot can have been taken here: it knows of no transaction that is still to come. */
export async function isOfThisDatabase(db: Queryable, snapshot: string): Promise<boolean> {
  const { rows } = await db.query<{ known: boolean }>(
    'SELECT pg_snapshot_xmax($1)::text::bigint <= tx_ceiling() AS known',
    [snapshot],
  );
  return rows[0]?.known === true;
}
