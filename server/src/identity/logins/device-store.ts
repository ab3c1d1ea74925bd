import {
  deviceCodeKeptMs,
  deviceCodeMs,
  deviceCodesMax,
  deviceCodesPerAddressMax,
  deviceCodesPerSiteMax,
  devicePollS,
  devicePollSMax,
} from '../../base/limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import type { Scope } from '../scopes.ts';
import type { DeviceRequest } from './model.ts';

interface Row {
  readonly id: string;
  readonly client_name: string;
  readonly address: string;
  readonly scopes: Scope[] | null;
}

const columns = 'id, client_name, address, scopes';
const waiting = "state = 'pending' AND expires_at > now()";

function fromRow(row: Row): DeviceRequest {
  return { id: row.id, clientName: row.client_name, address: row.address, scopes: row.scopes };
}

export interface DeviceCodeToInsert extends DeviceRequest {
  readonly addressPrefix: string;
  /** See addressSite; of many hosts. */
  readonly addressSite: string;
  readonly digest: Buffer;
  readonly userCodeDigest: Buffer;
}

/** @returns false when too many wait already, at all, for this address or for its site: none is dropped for a new one */
export async function insertDeviceCode(db: Queryable, code: DeviceCodeToInsert): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO device_codes (id, digest, user_code_digest, client_name, address, address_prefix, scopes, interval_s,
       expires_at, address_site)
     SELECT $1, $2::bytea, $3::bytea, $4, $5, $6, $7::text[], $8::int, now() + make_interval(secs => $9), $12
     WHERE (SELECT count(*) FROM device_codes WHERE ${waiting}) < $10
       AND (SELECT count(*) FROM device_codes WHERE address_prefix = $6 AND ${waiting}) < $11
       AND (SELECT count(*) FROM device_codes WHERE address_site = $12 AND ${waiting}) < $13`,
    [
      code.id,
      code.digest,
      code.userCodeDigest,
      code.clientName,
      code.address,
      code.addressPrefix,
      code.scopes,
      devicePollS,
      deviceCodeMs / 1000,
      deviceCodesMax,
      deviceCodesPerAddressMax,
      code.addressSite,
      deviceCodesPerSiteMax,
    ],
  );
  return rowCount === 1;
}

/** What waits under this user code. */
export async function findWaiting(db: Queryable, userCodeDigest: Buffer): Promise<DeviceRequest | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM device_codes WHERE user_code_digest = $1 AND ${waiting}`,
    [userCodeDigest],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** A person's decision: the first one, on what still waits. @returns what they decided on; null when nothing waits */
export async function decideDeviceCode(
  tx: Tx,
  userCodeDigest: Buffer,
  decision: {
    readonly state: 'approved' | 'denied';
    readonly projectId: string;
    readonly personId: string;
    readonly scopes: readonly Scope[];
  },
): Promise<DeviceRequest | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE device_codes SET state = $2, project_id = $3, person_id = $4, scopes = $5
     WHERE user_code_digest = $1 AND ${waiting} RETURNING ${columns}`,
    [userCodeDigest, decision.state, decision.projectId, decision.personId, decision.scopes],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Where a device code stands for the client that asks. */
export interface Polled {
  readonly id: string;
  readonly state: 'pending' | 'approved' | 'denied' | 'used';
  readonly isExpired: boolean;
  /** It asked again before its interval was over. */
  readonly isEarly: boolean;
}

/** Notes that the client asked; one that asks too soon must wait five seconds longer from now on (RFC 8628, section 3.5). */
export async function pollDeviceCode(db: Queryable, digest: Buffer): Promise<Polled | null> {
  const { rows } = await db.query<{ id: string; state: Polled['state']; is_expired: boolean; is_early: boolean }>(
    `WITH before AS (
       SELECT id, interval_s, coalesce(polled_at > now() - make_interval(secs => interval_s), false) AS is_early
       FROM device_codes WHERE digest = $1 FOR UPDATE)
     UPDATE device_codes AS code SET polled_at = now(),
       interval_s = CASE WHEN is_early THEN least(before.interval_s + ${devicePollS}, ${devicePollSMax})
                         ELSE before.interval_s END
     FROM before WHERE code.id = before.id
     RETURNING code.id, code.state, code.expires_at <= now() AS is_expired, is_early`,
    [digest],
  );
  const [row] = rows;
  return row ? { id: row.id, state: row.state, isExpired: row.is_expired, isEarly: row.is_early } : null;
}

/** What a confirmed code becomes. */
export interface Redeemed extends DeviceRequest {
  readonly scopes: readonly Scope[];
  readonly projectId: string;
  readonly personId: string;
}

/** Uses up a confirmed code; null when somebody else was first, or it expired. */
export async function redeemDeviceCode(tx: Tx, id: string): Promise<Redeemed | null> {
  const { rows } = await tx.query<Row & { readonly project_id: string; readonly person_id: string }>(
    `UPDATE device_codes SET state = 'used' WHERE id = $1 AND state = 'approved' AND expires_at > now()
     RETURNING ${columns}, project_id, person_id`,
    [id],
  );
  const [row] = rows;
  return row ? { ...fromRow(row), scopes: row.scopes ?? [], projectId: row.project_id, personId: row.person_id } : null;
}

/** What a person confirmed and nobody has fetched is denied after all. */
export async function denyConfirmed(tx: Tx, personId: string): Promise<void> {
  await tx.query("UPDATE device_codes SET state = 'denied' WHERE person_id = $1 AND state = 'approved'", [personId]);
}

/** Deletes codes that were over a while ago. */
export async function purgeDeviceCodes(db: Queryable, rowsMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM device_codes WHERE id IN
       (SELECT id FROM device_codes WHERE expires_at < now() - make_interval(secs => $1) LIMIT $2)`,
    [deviceCodeKeptMs / 1000, rowsMax],
  );
  return rowCount ?? 0;
}
