import type { Queryable, Tx } from '../pg/tx.ts';
import type { ChangelogCategory, ChangelogEntry } from './model.ts';
import { type SizedRows, withinAnswer } from './page.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly category: ChangelogCategory;
  readonly summary: string;
  readonly details: string;
  readonly actor_kind: ChangelogEntry['actorKind'];
  readonly actor_id: string;
  readonly created_at: Date;
}

const columns = 'id, project_id, category, summary, details, actor_kind, actor_id, created_at';

function fromRow(row: Row): ChangelogEntry {
  return {
    id: row.id,
    projectId: row.project_id,
    category: row.category,
    summary: row.summary,
    details: row.details,
    actorKind: row.actor_kind,
    actorId: row.actor_id,
    createdAt: row.created_at.getTime(),
  };
}

export async function insertChangelogEntry(tx: Tx, entry: Omit<ChangelogEntry, 'createdAt'>): Promise<ChangelogEntry> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO changelog (id, project_id, category, summary, details, actor_kind, actor_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${columns}`,
    [entry.id, entry.projectId, entry.category, entry.summary, entry.details, entry.actorKind, entry.actorId],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

const all = `SELECT ${columns} FROM changelog
  WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`;
// As bounds of rows, and in the order: no other index serves that. With `=` the planner may read all changelog and leave most out.
const ofCategory = `SELECT ${columns} FROM changelog
  WHERE project_id = $1 AND (category, id) > ($4, '') AND (category, id) < ($4, coalesce($2, '~')) ORDER BY category DESC, id DESC LIMIT $3`;

/** The changelog of the project, newest first, from below `beforeId` (null: from the newest). @param category null is any */
export async function selectChangelog(
  db: Queryable,
  projectId: string,
  category: ChangelogCategory | null,
  beforeId: string | null,
  limit: number,
): Promise<SizedRows<ChangelogEntry>> {
  const { rows } = await db.query<Row & { found: bigint }>(
    withinAnswer(category === null ? all : ofCategory, ['summary', 'details']),
    [projectId, beforeId, limit, ...(category === null ? [] : [category])],
  );
  return { items: rows.map(fromRow), found: Number(rows[0]?.found ?? 0) };
}
