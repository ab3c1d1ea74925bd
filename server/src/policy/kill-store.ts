import type { Queryable, Tx } from '../pg/tx.ts';
import type { KillTarget } from './kill-rules.ts';
import type { KillScope, KillSwitch } from './model.ts';

/** A kill switch as it is stored: released ones stay, so that replicas learn of the release. */
export interface StoredKillSwitch extends KillSwitch {
  /** Of a drill: when it ends, from its beginning. */
  readonly releasedAt: number | null;
  /** Who asked last that it be released by two people; null: nobody did. */
  readonly releaseAsk: ReleaseAsk | null;
}

export interface ReleaseAsk {
  /** The name of the principal. */
  readonly by: string;
  readonly personId: string;
  /** Until when another person may confirm. */
  readonly until: number;
}

interface Row {
  readonly id: string;
  readonly scope: KillScope;
  readonly value: string;
  readonly project_id: string | null;
  readonly reason: string;
  readonly engaged_by: string;
  readonly engaged_at: Date;
  readonly expires_at: Date | null;
  readonly drill: boolean;
  readonly login_id: string | null;
  readonly released_at: Date | null;
  readonly release_asked_by: string | null;
  readonly release_person_id: string | null;
  readonly release_until: Date | null;
}

const columns = `id, scope, value, project_id, reason, engaged_by, engaged_at, expires_at, drill, released_at,
  release_asked_by, release_person_id, release_until,
  (SELECT login_id FROM api_keys WHERE scope = 'key' AND api_keys.id = value) AS login_id`;

function fromRow(row: Row): StoredKillSwitch {
  return {
    id: row.id,
    scope: row.scope,
    value: row.value,
    projectId: row.project_id,
    reason: row.reason,
    engagedBy: row.engaged_by,
    engagedAt: row.engaged_at.getTime(),
    expiresAt: row.expires_at?.getTime() ?? null,
    drill: row.drill,
    loginId: row.login_id,
    releasedAt: row.released_at?.getTime() ?? null,
    releaseAsk: askOf(row),
  };
}

function askOf({ release_asked_by: by, release_person_id: personId, release_until: until }: Row): ReleaseAsk | null {
  return by === null || personId === null || until === null ? null : { by, personId, until: until.getTime() };
}

function theRow(rows: readonly Row[]): StoredKillSwitch {
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** Marks the expired switches of a project (null: those for everything) as released, so that they can be engaged anew. */
export async function closeExpired(tx: Tx, version: bigint, projectId: string | null): Promise<void> {
  await tx.query(
    `UPDATE kill_switches SET released_at = expires_at, released_by = 'expiry', control_version = $2
     WHERE project_id IS NOT DISTINCT FROM $1 AND released_at IS NULL AND expires_at <= now()`,
    [projectId, version],
  );
}

/** A switch to be made, from now on. */
export interface NewKillSwitch extends KillTarget {
  readonly id: string;
  readonly reason: string;
  readonly engagedBy: string;
  /** Epoch milliseconds. Null, without `ttlMs` too: until released. */
  readonly expiresAt: number | null;
  /** From now, by the database's clock; goes before `expiresAt`. */
  readonly ttlMs: number | null;
}

// The parameters that `valuesOf` gives.
const inserted = `(id, scope, value, project_id, reason, engaged_by, expires_at, control_version`;
const values = `($1, $2, $3, $4, $5, $6, coalesce(now() + $7 * interval '1 millisecond', $8), $9`;

function valuesOf(version: bigint, kill: NewKillSwitch): unknown[] {
  const { id, scope, value, projectId, reason, engagedBy, expiresAt, ttlMs } = kill;
  const at = expiresAt === null ? null : new Date(expiresAt);
  return [id, scope, value, projectId, reason, engagedBy, ttlMs, at, version];
}

/**
 * Engages, or, where the target is stopped already, makes that switch last until the later of both expiries (null is
 * the latest). Whoever asked for its release must ask again.
 */
export async function upsertKillSwitch(tx: Tx, version: bigint, kill: NewKillSwitch): Promise<StoredKillSwitch> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO kill_switches ${inserted}) VALUES ${values})
     ON CONFLICT (scope, value, coalesce(project_id, '')) WHERE released_at IS NULL DO UPDATE
     SET expires_at = CASE WHEN kill_switches.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
                           ELSE greatest(kill_switches.expires_at, excluded.expires_at) END,
         release_asked_by = NULL, release_person_id = NULL, release_until = NULL,
         control_version = excluded.control_version
     RETURNING ${columns}`,
    valuesOf(version, kill),
  );
  return theRow(rows);
}

/** A switch that is released already: it stops nothing, and each replica acknowledges it. */
export async function insertDrill(tx: Tx, version: bigint, kill: NewKillSwitch): Promise<StoredKillSwitch> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO kill_switches ${inserted}, drill, released_at, released_by)
     VALUES ${values}, true, now() + $7 * interval '1 millisecond', 'drill')
     RETURNING ${columns}`,
    valuesOf(version, kill),
  );
  return theRow(rows);
}

/** @returns null when it is released already */
export async function releaseKillSwitch(
  tx: Tx,
  version: bigint,
  id: string,
  releasedBy: string,
): Promise<StoredKillSwitch | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE kill_switches SET released_at = now(), released_by = $2, control_version = $3
     WHERE id = $1 AND released_at IS NULL RETURNING ${columns}`,
    [id, releasedBy, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The switch, if it is of this project or stops everything. */
export async function findKillSwitch(db: Queryable, id: string, projectId: string): Promise<StoredKillSwitch | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM kill_switches WHERE id = $1 AND (project_id = $2 OR project_id IS NULL)`,
    [id, projectId],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Switches engaged now that reach the project, newest first, from below `beforeId` (null: from the newest). */
export async function listEngaged(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<StoredKillSwitch[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM kill_switches
     WHERE released_at IS NULL AND (expires_at IS NULL OR expires_at > now())
       AND (project_id = $1 OR project_id IS NULL) AND ($2::text IS NULL OR id < $2)
     ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** All switches of the project, released ones too, newest first, from below `beforeId` (null: from the newest). */
export async function selectKillSwitches(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<StoredKillSwitch[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM kill_switches
     WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** How many switches of the project are not released. */
export async function countUnreleased(db: Queryable, projectId: string): Promise<bigint> {
  const { rows } = await db.query<{ count: bigint }>(
    'SELECT count(*) FROM kill_switches WHERE project_id = $1 AND released_at IS NULL',
    [projectId],
  );
  return rows[0]?.count ?? 0n;
}

/** For the control feed: what changed after `version`; from 0 only what is not released. */
export async function killSwitchesSince(db: Queryable, version: bigint): Promise<StoredKillSwitch[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM kill_switches WHERE control_version > $1 AND ($1 > 0 OR released_at IS NULL)`,
    [version],
  );
  return rows.map(fromRow);
}

const targetStatements = {
  agent: 'SELECT id FROM agents WHERE project_id = $2 AND (id = $1 OR name = $1) ORDER BY id = $1 DESC LIMIT 1',
  key: 'SELECT id FROM api_keys WHERE id = $1 AND project_id = $2',
  run: 'SELECT id FROM runs WHERE id = $1 AND project_id = $2',
  workflow: 'SELECT workflow AS id FROM runs WHERE workflow = $1 AND project_id = $2 LIMIT 1',
} as const;

/** What a kill switch names in a project: its id (of an agent also found by name), or a workflow that a run had. Null: there is none. */
export async function findKillTarget(
  db: Queryable,
  scope: keyof typeof targetStatements,
  value: string,
  projectId: string,
): Promise<string | null> {
  const { rows } = await db.query<{ id: string }>(targetStatements[scope], [value, projectId]);
  return rows[0]?.id ?? null;
}
