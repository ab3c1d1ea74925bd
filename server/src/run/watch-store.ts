import { leastId } from '../base/ids.ts';
import { runClockMarginMs } from '../base/limits.ts';
import { eventAgeMsMax } from '../base/telemetry-limits.ts';
import type { Queryable } from '../pg/tx.ts';

/** What is new of some runs. */
export interface Look {
  /** Every transaction before this one is over: what they wrote is seen, and nothing can come of them any more. */
  readonly upTo: bigint;
  /** No transaction of this number or a later one was over: what is seen was written before. */
  readonly next: bigint;
  /** Runs with events of transactions from `from` on, before `upTo`. */
  readonly told: readonly string[];
  readonly ended: readonly string[];
}

/** One statement for all runs that are watched (decision 0022 says why transactions are what is counted by). */
export async function lookAt(
  db: Queryable,
  runIds: readonly string[],
  from: bigint | null,
  nowMs: number,
): Promise<Look> {
  const { rows } = await db.query<Look>(
    `SELECT s."upTo", s.next,
       ARRAY(
         SELECT DISTINCT run_id FROM run_events
         WHERE tx_id >= $2 AND tx_id < s."upTo" AND run_id = ANY ($1::text[]) AND id >= $3
       ) AS told,
       ARRAY(SELECT id FROM runs WHERE id = ANY ($1::text[]) AND state <> 'running') AS ended
     FROM (SELECT tx_floor() AS "upTo", tx_ceiling() AS next) AS s`,
    // What can be told now occurred within this time: days before it are left out.
    [runIds, from, leastId('evt', nowMs - eventAgeMsMax - runClockMarginMs)],
  );
  const [look] = rows;
  if (!look) throw new Error('a SELECT of one row gave none');
  return look;
}
