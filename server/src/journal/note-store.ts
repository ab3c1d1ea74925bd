import type { Queryable, Tx } from '../pg/tx.ts';
import type { Note } from './model.ts';
import { type SizedRows, withinAnswer } from './page.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly title: string;
  readonly body: string;
  readonly tags: readonly string[];
  readonly created_by: string;
  readonly created_at: Date;
}

const columns = 'id, project_id, title, body, tags, created_by, created_at';

function fromRow(row: Row): Note {
  return {
    id: row.id,
    projectId: row.project_id,
    title: row.title,
    body: row.body,
    tags: row.tags,
    createdBy: row.created_by,
    createdAt: row.created_at.getTime(),
  };
}

export async function insertNote(tx: Tx, note: Omit<Note, 'createdAt'>): Promise<Note> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO notes (id, project_id, title, body, tags, created_by) VALUES ($1, $2, $3, $4, $5, $6)
     RETURNING ${columns}`,
    [note.id, note.projectId, note.title, note.body, [...note.tags], note.createdBy],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** @returns the note as it was; null where there is none in the project */
export async function deleteNote(tx: Tx, projectId: string, id: string): Promise<Note | null> {
  const { rows } = await tx.query<Row>(`DELETE FROM notes WHERE id = $1 AND project_id = $2 RETURNING ${columns}`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Notes of the project, newest first, from below `beforeId` (null: from the newest). */
export async function selectNotes(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<SizedRows<Note>> {
  const { rows } = await db.query<Row & { found: bigint }>(
    withinAnswer(
      `SELECT ${columns} FROM notes
       WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
      ['title', 'body', "array_to_string(tags, '')"],
    ),
    [projectId, beforeId, limit],
  );
  return { items: rows.map(fromRow), found: Number(rows[0]?.found ?? 0) };
}
