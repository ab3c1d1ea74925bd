import {
  approvalMessagesKeptMs,
  approvalMessagesPerHourMax,
  approvalMessageTriesMax,
} from '../../base/approval-limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import type { Message } from './model.ts';

interface Row {
  readonly approval_id: string;
  readonly channel: string;
  readonly person_id: string;
  readonly tries: number;
  readonly state: string;
}

/**
 * Writes down who is to be told by what, once each. Of one requester a person or channel is told so often an hour; what is more
 * is written down as dropped.
 * @param people null stands for all who read the channel
 */
export async function insertMessages(
  tx: Tx,
  { approvalId, requesterId }: { readonly approvalId: string; readonly requesterId: string },
  channel: string,
  people: readonly (string | null)[],
): Promise<void> {
  await tx.query(
    `INSERT INTO approval_messages (approval_id, channel, person_id, requester_id, state, ended_at, note)
     SELECT $1, $2, person, $3,
            CASE WHEN enough THEN 'dropped' ELSE 'waiting' END,
            CASE WHEN enough THEN clock_timestamp() END,
            CASE WHEN enough THEN 'too many of this requester' ELSE '' END
     FROM unnest($4::text[]) AS person, LATERAL (
       SELECT count(*) >= $5 AS enough FROM (
         SELECT FROM approval_messages m
         WHERE m.channel = $2 AND m.person_id = person AND m.requester_id = $3
           AND m.created_at > clock_timestamp() - interval '1 hour' AND m.state <> 'dropped'
         LIMIT $5) AS recent) AS counted
     ON CONFLICT DO NOTHING`,
    [approvalId, channel, requesterId, people.map((person) => person ?? ''), approvalMessagesPerHourMax],
  );
}

/**
 * Takes messages of a channel that are due, for `leaseMs`. What was tried too often, and what nobody needs to decide any more, ends here
 * and is not among them.
 */
export async function claimMessages(
  db: Queryable,
  channel: string,
  limit: number,
  leaseMs: number,
): Promise<Message[]> {
  const { rows } = await db.query<Row>(
    `WITH due AS (
       SELECT m.approval_id, m.person_id,
              CASE WHEN NOT (a.state = 'pending' AND a.expires_at > clock_timestamp()) THEN 'dropped'
                   WHEN m.tries >= $4 THEN 'failed' ELSE 'waiting' END AS becomes
       FROM approval_messages m JOIN approvals a ON a.id = m.approval_id
       WHERE m.channel = $1 AND m.state = 'waiting' AND m.due_at <= clock_timestamp()
       ORDER BY m.due_at LIMIT $2 FOR UPDATE OF m SKIP LOCKED)
     UPDATE approval_messages m SET
       state = due.becomes,
       ended_at = CASE WHEN due.becomes <> 'waiting' THEN clock_timestamp() END,
       tries = m.tries + CASE WHEN due.becomes = 'waiting' THEN 1 ELSE 0 END,
       due_at = clock_timestamp() + $3 * interval '1 ms'
     FROM due WHERE m.approval_id = due.approval_id AND m.channel = $1 AND m.person_id = due.person_id
     RETURNING m.approval_id, m.channel, m.person_id, m.tries, m.state`,
    [channel, limit, leaseMs, approvalMessageTriesMax],
  );
  return rows
    .filter(({ state }) => state === 'waiting')
    .map((row) => ({
      approvalId: row.approval_id,
      channel: row.channel,
      personId: row.person_id === '' ? null : row.person_id,
      tries: row.tries,
    }));
}

/** How a message ended. */
export async function endMessage(
  db: Queryable,
  message: Message,
  state: 'sent' | 'failed' | 'dropped',
  note: string,
): Promise<void> {
  await db.query(
    `UPDATE approval_messages SET state = $4, note = $5, ended_at = clock_timestamp()
     WHERE approval_id = $1 AND channel = $2 AND person_id = $3 AND state = 'waiting'`,
    [...keyOf(message), state, note],
  );
}

/** It is tried again after `afterMs`. */
export async function postponeMessage(db: Queryable, message: Message, note: string, afterMs: number): Promise<void> {
  await db.query(
    `UPDATE approval_messages SET due_at = clock_timestamp() + $4 * interval '1 ms', note = $5
     WHERE approval_id = $1 AND channel = $2 AND person_id = $3 AND state = 'waiting'`,
    [...keyOf(message), afterMs, note],
  );
}

/** Deletes messages of long ago, whatever became of them, at most `limit`. @returns how many */
export async function purgeMessages(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM approval_messages WHERE (approval_id, channel, person_id) IN (
       SELECT approval_id, channel, person_id FROM approval_messages
       WHERE created_at < clock_timestamp() - $1 * interval '1 ms' LIMIT $2)`,
    [approvalMessagesKeptMs, limit],
  );
  return rowCount ?? 0;
}

function keyOf({ approvalId, channel, personId }: Message): [string, string, string] {
  return [approvalId, channel, personId ?? ''];
}
