import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import { dayOf, keepDays, noon } from '../../../../test/support/ledger-days.ts';
import { newId } from '../../base/ids.ts';
import { webhookDays } from './days.ts';
import { deleteOldKeys, deleteOldRefusals } from './refusal-store.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

async function write(ms: number, state = 'kept'): Promise<string> {
  const id = newId('inb', ms);
  await db.pool.query(
    `INSERT INTO webhook_events (id, project_id, source, signature_status, headers, body, body_bytes, sealed, state, received_at, finished_at)
     VALUES ($1, 'prj_x', 's', 'valid', '{}', 'x', 1, false, $2, $3, CASE WHEN $2 = 'pending' THEN NULL ELSE now() END)`,
    [id, state, new Date(ms)],
  );
  return id;
}

const left = async () =>
  (await db.pool.query<{ id: string }>('SELECT id FROM webhook_events ORDER BY id')).rows.map(({ id }) => id);

const days = async () => (await webhookDays.list(db.pool)).map(({ day }) => day);

describe('days of webhooks', () => {
  test('are made ahead, take what came without one, and go when they are over, but for what waits', async () => {
    await webhookDays.add(db.pool, 14);
    expect(await days()).toContain(dayOf(noon(14)));
    const old = await write(noon(-40));
    const waiting = await write(noon(-39), 'pending');
    const young = await write(noon(-3));
    const now = await write(Date.now());
    await keepDays(db.pool, webhookDays, 14);
    // Written lately, whatever their ids say.
    expect(await left()).toEqual([old, waiting, young, now]);
    expect(await days()).toEqual(expect.arrayContaining([dayOf(noon(-40)), dayOf(noon(-39)), dayOf(noon(-3))]));
    await queryAsOwner(db, `UPDATE webhook_events SET recorded_at = received_at`);
    await keepDays(db.pool, webhookDays, 14);
    expect(await left()).toEqual([waiting, young, now]);
    expect(await days()).not.toContain(dayOf(noon(-40)));
    const { rows } = await db.pool.query(
      `SELECT target, payload FROM audit_entries WHERE action = 'telemetry.day_dropped'`,
    );
    expect(rows).toEqual([{ target: dayOf(noon(-40)), payload: { rows: '1', table: 'webhook_events' } }]);
  });

  test.each([
    'DELETE FROM webhook_events',
    'DROP TABLE webhook_events_default',
    'SELECT * FROM webhook_events_default',
    `SELECT telemetry_add_day('webhook_events', current_date - 30)`,
  ])("the application's role may not: %s", async (statement) => {
    await expect(db.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test.each([-1, 0, 1, 7])('none that ended less than a week ago can be dropped: %i days ago', async (ago) => {
    const drop = db.pool.query('SELECT * FROM webhook_drop_day($1)', [dayOf(noon(-ago))]);
    await expect(drop).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining('younger than a week'),
    });
  });
});

test('what events were known by, and what was refused, goes in batches when it is old', async () => {
  await db.pool.query(
    `INSERT INTO webhook_event_keys (source, key, event_id, recorded_at)
     SELECT 's', sha256(n::text::bytea), 'inb_x', now() - n * interval '1 day' FROM generate_series(1, 40) AS n`,
  );
  const many = async (table: string) => (await db.pool.query(`SELECT FROM ${table}`)).rowCount;
  expect(await deleteOldKeys(db.pool, 30, 6)).toBe(6);
  expect(await deleteOldKeys(db.pool, 30, 100)).toBe(5);
  expect(await many('webhook_event_keys')).toBe(29);
  await db.pool.query(
    `INSERT INTO webhook_refusals
     SELECT 's', now() - n * interval '1 day', 'invalid', 'malformed', 1, now(), now(), '' FROM generate_series(1, 20) AS n`,
  );
  expect(await deleteOldRefusals(db.pool, 14, 3)).toBe(3);
  expect(await deleteOldRefusals(db.pool, 14, 100)).toBe(4);
  expect(await many('webhook_refusals')).toBe(13);
});
