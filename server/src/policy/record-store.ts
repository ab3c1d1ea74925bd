import { leastId } from '../base/ids.ts';
import type { Queryable } from '../pg/tx.ts';
import type { CallFacts } from './judgement.ts';
import type { Effect } from './rules.ts';

/** What was judged of a call, and how. */
export interface PolicyRecord {
  /** Sorts by time. */
  readonly id: string;
  readonly projectId: string;
  readonly requestId: string;
  /** Null where there was no policy. */
  readonly version: number | null;
  readonly verdict: Effect['kind'];
  readonly rule: string | null;
}

/** As it is written: facts and shadow verdicts are JSON text. */
export interface WrittenRecord extends PolicyRecord {
  readonly facts: string;
  readonly shadows: string | null;
}

/** As it is read again. */
export interface ReadRecord extends PolicyRecord {
  readonly facts: CallFacts;
}

/** The facts go as lines of one text, since JSON text has no line breaks: as an array each of their quotes would be escaped. */
export async function insertRecords(db: Queryable, records: readonly WrittenRecord[]): Promise<void> {
  await db.query(
    `INSERT INTO policy_records (project_id, id, request_id, facts, version, verdict, rule, shadows)
     SELECT p, i, q, f::json, v, d, r, s::json
     FROM unnest($1::text[], $2::text[], $3::text[], string_to_array($4, E'\\n'), $5::int[], $6::text[], $7::text[], $8::text[])
       AS t (p, i, q, f, v, d, r, s)`,
    [
      records.map(({ projectId }) => projectId),
      records.map(({ id }) => id),
      records.map(({ requestId }) => requestId),
      records.map(({ facts }) => facts).join('\n'),
      records.map(({ version }) => version),
      records.map(({ verdict }) => verdict),
      records.map(({ rule }) => rule),
      records.map(({ shadows }) => shadows),
    ],
  );
}

/** Records of a project with ids from `first` on and below `before`, newest first. */
export async function selectRecords(
  db: Queryable,
  projectId: string,
  { first, before }: { readonly first: string; readonly before: string },
  limit: number,
): Promise<ReadRecord[]> {
  const { rows } = await db.query<{
    id: string;
    request_id: string;
    facts: CallFacts;
    version: number | null;
    verdict: Effect['kind'];
    rule: string | null;
  }>(
    `SELECT id, request_id, facts, version, verdict, rule FROM policy_records
     WHERE project_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4`,
    [projectId, first, before, limit],
  );
  return rows.map(({ request_id: requestId, ...row }) => ({ ...row, projectId, requestId }));
}

/** Projects that have records. */
export async function selectRecordedProjects(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM projects p WHERE EXISTS (SELECT FROM policy_records r WHERE r.project_id = p.id)',
  );
  return rows.map(({ id }) => id);
}

/** The id from which a project's records stay: none is older than `beforeMs`, and they are the newest `kept`. */
export async function findFirstKept(
  db: Queryable,
  projectId: string,
  { beforeMs, kept }: { readonly beforeMs: number; readonly kept: number },
): Promise<string> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM policy_records WHERE project_id = $1 ORDER BY id DESC OFFSET $2 LIMIT 1',
    [projectId, kept - 1],
  );
  const oldest = leastId('pol', beforeMs);
  const [row] = rows;
  return row && row.id > oldest ? row.id : oldest;
}

/** Deletes some of a project's records with ids below `first`, the oldest ones. @returns how many */
export async function deleteRecordsBefore(
  db: Queryable,
  projectId: string,
  first: string,
  limit: number,
): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM policy_records WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM policy_records WHERE project_id = $1 AND id < $2 ORDER BY id LIMIT $3))`,
    [projectId, first, limit],
  );
  return rowCount ?? 0;
}

/** What calls cost, corrections included, by their request ids; those that cost nothing may be absent. */
export async function sumCosts(
  db: Queryable,
  projectId: string,
  requestIds: readonly string[],
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
): Promise<Map<string, bigint>> {
  const { rows } = await db.query<{ request_id: string; cost: bigint }>(
    `SELECT request_id, sum(cost_nanousd)::bigint AS cost FROM attempts
     WHERE project_id = $1 AND id >= $3 AND id < $4 AND request_id = ANY ($2) GROUP BY 1`,
    [projectId, requestIds, leastId('att', fromMs), leastId('att', untilMs)],
  );
  return new Map(rows.map(({ request_id, cost }) => [request_id, cost]));
}
