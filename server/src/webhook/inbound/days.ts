import type { Queryable, Tx } from '../../pg/tx.ts';

/** The days of webhook events, which are made and dropped as the ledger's are (decision 0016). */
export const webhookDays = {
  add: async (db: Queryable, ahead: number) => (await db.query('SELECT webhook_add_days($1)', [ahead])).rowCount ?? 0,
  list: async (db: Queryable) => {
    const { rows } = await db.query<{ day: string; bytes: bigint }>(
      `SELECT to_char(day, 'YYYY-MM-DD') AS day, bytes FROM webhook_days() ORDER BY 1`,
    );
    return rows;
  },
  drop: async (tx: Tx, day: string) => {
    const { rows } = await tx.query<{ rows: bigint }>('SELECT row_count AS "rows" FROM webhook_drop_day($1::date)', [
      day,
    ]);
    return rows[0] ? { table: 'webhook_events', rows: rows[0].rows.toString() } : null;
  },
  droppedAction: 'telemetry.day_dropped' as const,
};
