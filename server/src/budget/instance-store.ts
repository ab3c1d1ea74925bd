import type { Queryable } from '../pg/tx.ts';

/** Registers a process, or marks it as seen now. @returns the database's time */
export async function beatInstance(db: Queryable, id: string): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>(
    `INSERT INTO instances (id) VALUES ($1)
     ON CONFLICT (id) DO UPDATE SET seen_at = now(), stopped_at = NULL
     RETURNING clock_timestamp() AS now`,
    [id],
  );
  const now = rows[0]?.now;
  if (!now) throw new Error(`instance ${id} was neither inserted nor updated`);
  return now;
}

export async function stopInstance(db: Queryable, id: string): Promise<void> {
  await db.query('UPDATE instances SET stopped_at = now() WHERE id = $1 AND stopped_at IS NULL', [id]);
}

export async function stopOtherInstances(db: Queryable, id: string): Promise<void> {
  await db.query('UPDATE instances SET stopped_at = now() WHERE id <> $1 AND stopped_at IS NULL', [id]);
}
