import type { JsonValue } from '../audit/canonical-json.ts';
import type { Queryable, Tx } from '../pg/tx.ts';

/** What lists tell of a version. */
export interface VersionHead {
  readonly version: number;
  readonly digest: Buffer;
  readonly ruleCount: number;
  readonly capCount: number;
  readonly authorId: string;
  readonly authorName: string;
  readonly note: string;
  readonly restoredVersion: number | null;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

/** A version as it is stored: it never changes. */
export interface StoredVersion extends VersionHead {
  readonly document: JsonValue;
}

/** How the policy of a project stands. */
export interface PolicyState {
  readonly inForce: number | null;
  /** What was in force before. */
  readonly previous: number | null;
  readonly shadow: number | null;
  /** 0 where there is none yet. */
  readonly lastVersion: number;
  /** Counts the changes. */
  readonly revision: bigint;
  /** The name of who made the last change. */
  readonly changedBy: string;
}

interface HeadRow {
  readonly version: number;
  readonly digest: Buffer;
  readonly rule_count: number;
  readonly cap_count: number;
  readonly author_id: string;
  readonly author_name: string;
  readonly note: string;
  readonly restored_version: number | null;
  readonly created_at: Date;
}

type VersionRow = HeadRow & { readonly document: JsonValue };

const headColumns = `version, digest, rule_count, cap_count, author_id, author_name, note, restored_version, created_at`;

function headOf(row: HeadRow): VersionHead {
  return {
    version: row.version,
    digest: row.digest,
    ruleCount: row.rule_count,
    capCount: row.cap_count,
    authorId: row.author_id,
    authorName: row.author_name,
    note: row.note,
    restoredVersion: row.restored_version,
    createdAt: row.created_at.getTime(),
  };
}

function versionOf(row: VersionRow): StoredVersion {
  return { ...headOf(row), document: row.document };
}

export async function insertVersion(
  tx: Tx,
  projectId: string,
  made: Omit<StoredVersion, 'createdAt'>,
): Promise<StoredVersion> {
  const { rows } = await tx.query<VersionRow>(
    `INSERT INTO policy_versions
       (project_id, version, document, digest, rule_count, cap_count, author_id, author_name, note, restored_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${headColumns}, document`,
    [
      projectId,
      made.version,
      JSON.stringify(made.document),
      made.digest,
      made.ruleCount,
      made.capCount,
      made.authorId,
      made.authorName,
      made.note,
      made.restoredVersion,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return versionOf(row);
}

export async function findVersion(db: Queryable, projectId: string, version: number): Promise<StoredVersion | null> {
  const { rows } = await db.query<VersionRow>(
    `SELECT ${headColumns}, document FROM policy_versions WHERE project_id = $1 AND version = $2`,
    [projectId, version],
  );
  return rows[0] ? versionOf(rows[0]) : null;
}

/** The newest version above `after` with such a document. */
export async function findVersionBy(
  db: Queryable,
  projectId: string,
  digest: Buffer,
  after: number,
): Promise<StoredVersion | null> {
  const { rows } = await db.query<VersionRow>(
    `SELECT ${headColumns}, document FROM policy_versions
     WHERE project_id = $1 AND version > $3 AND digest = $2 ORDER BY version DESC LIMIT 1`,
    [projectId, digest, after],
  );
  return rows[0] ? versionOf(rows[0]) : null;
}

/** Versions, newest first, from below `before` (null: from the newest). */
export async function selectVersions(
  db: Queryable,
  projectId: string,
  before: number | null,
  limit: number,
): Promise<VersionHead[]> {
  const { rows } = await db.query<HeadRow>(
    `SELECT ${headColumns} FROM policy_versions
     WHERE project_id = $1 AND ($2::int IS NULL OR version < $2) ORDER BY version DESC LIMIT $3`,
    [projectId, before, limit],
  );
  return rows.map(headOf);
}

/** Versions with their documents, newest first, from below `before` (null: from the newest). */
export async function selectWholeVersions(
  db: Queryable,
  projectId: string,
  before: number | null,
  limit: number,
): Promise<StoredVersion[]> {
  const { rows } = await db.query<VersionRow>(
    `SELECT ${headColumns}, document FROM policy_versions
     WHERE project_id = $1 AND ($2::int IS NULL OR version < $2) ORDER BY version DESC LIMIT $3`,
    [projectId, before, limit],
  );
  return rows.map(versionOf);
}

interface StateRow {
  readonly in_force: number | null;
  readonly previous: number | null;
  readonly shadow: number | null;
  readonly last_version: number;
  readonly revision: bigint;
  readonly changed_by: string;
}

export async function findState(db: Queryable, projectId: string): Promise<PolicyState | null> {
  const { rows } = await db.query<StateRow>(
    'SELECT in_force, previous, shadow, last_version, revision, changed_by FROM policy_state WHERE project_id = $1',
    [projectId],
  );
  const [row] = rows;
  if (!row) return null;
  const { in_force: inForce, previous, shadow, last_version: lastVersion, revision, changed_by: changedBy } = row;
  return { inForce, previous, shadow, lastVersion, revision, changedBy };
}

/** Under the lock of the control version, which orders all writers of this row. */
export async function saveState(tx: Tx, version: bigint, projectId: string, state: PolicyState): Promise<void> {
  await tx.query(
    `INSERT INTO policy_state (project_id, in_force, previous, shadow, last_version, revision, changed_by, control_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (project_id) DO UPDATE
     SET in_force = excluded.in_force, previous = excluded.previous, shadow = excluded.shadow, last_version = excluded.last_version,
         revision = excluded.revision, changed_by = excluded.changed_by, control_version = excluded.control_version`,
    [
      projectId,
      state.inForce,
      state.previous,
      state.shadow,
      state.lastVersion,
      state.revision,
      state.changedBy,
      version,
    ],
  );
}

/** What the data plane needs of a project's policy. */
export interface PolicyInForce {
  readonly projectId: string;
  readonly inForce: { readonly version: number; readonly document: JsonValue } | null;
  readonly shadow: { readonly version: number; readonly document: JsonValue } | null;
}

/** Projects whose policy changed after the control version `since`. */
export async function policiesSince(db: Queryable, since: bigint): Promise<PolicyInForce[]> {
  const { rows } = await db.query<{
    project_id: string;
    in_force: number | null;
    document: JsonValue;
    shadow: number | null;
    shadow_document: JsonValue;
  }>(
    `SELECT s.project_id, s.in_force, f.document, s.shadow, h.document AS shadow_document
     FROM policy_state s
     LEFT JOIN policy_versions f ON f.project_id = s.project_id AND f.version = s.in_force
     LEFT JOIN policy_versions h ON h.project_id = s.project_id AND h.version = s.shadow
     WHERE s.control_version > $1`,
    [since],
  );
  return rows.map((row) => ({
    projectId: row.project_id,
    inForce: row.in_force === null ? null : { version: row.in_force, document: row.document },
    shadow: row.shadow === null ? null : { version: row.shadow, document: row.shadow_document },
  }));
}
