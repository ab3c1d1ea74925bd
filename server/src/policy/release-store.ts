import type { Queryable, Tx } from '../pg/tx.ts';

/** The statements of a release by two people (decision 0021). Times are those of the database's clock at the statement, not at the beginning of its transaction. */

/**
 * Asks, unless another person's ask still stands.
 * @returns whether this person's ask stands now, for `askedMs` from now on
 */
export async function askRelease(
  tx: Tx,
  version: bigint,
  id: string,
  by: { readonly name: string; readonly personId: string },
  askedMs: number,
): Promise<boolean> {
  const { rows } = await tx.query(
    `UPDATE kill_switches SET release_asked_by = $2, release_person_id = $3, control_version = $5,
       release_until = clock_timestamp() + $4 * interval '1 millisecond'
     WHERE id = $1 AND released_at IS NULL
       AND (release_person_id IS NULL OR release_person_id = $3 OR release_until <= clock_timestamp())
     RETURNING id`,
    [id, by.name, by.personId, askedMs, version],
  );
  return rows.length > 0;
}

/**
 * Whether somebody else asked, in time, and is still there: another person, and not the same one under another record of
 * another project.
 */
export async function mayConfirm(db: Queryable, id: string, personId: string): Promise<boolean> {
  const { rows } = await db.query(
    `SELECT FROM kill_switches JOIN people asked ON asked.id = release_person_id, people confirms
     WHERE kill_switches.id = $1 AND confirms.id = $2 AND released_at IS NULL AND release_until > clock_timestamp()
       AND asked.state = 'active' AND confirms.state = 'active'
       AND asked.id <> confirms.id AND lower(asked.email) <> lower(confirms.email)`,
    [id, personId],
  );
  return rows.length > 0;
}
