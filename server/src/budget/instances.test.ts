import { Pool } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { systemClock } from '../base/clock.ts';
import { Instance } from './instances.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

test('an instance that stops says so', async () => {
  const instance = new Instance(db.pool, systemClock);
  await instance.beat();
  await instance.stop();
  const { rows } = await db.pool.query('SELECT stopped_at IS NOT NULL AS stopped FROM instances WHERE id = $1', [
    instance.id,
  ]);
  expect(rows).toEqual([{ stopped: true }]);
});

test('an instance whose database is away stops all the same, and one that the database refuses does not hide it', async () => {
  const nowhere = new Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/none' });
  await expect(new Instance(nowhere, systemClock).stop()).resolves.toBeUndefined();
  await nowhere.end();
  const client = new Pool({ connectionString: db.ownerUrl });
  await client.query('ALTER TABLE instances RENAME TO instances_away');
  await expect(new Instance(db.pool, systemClock).stop()).rejects.toThrow(/instances/);
  await client.query('ALTER TABLE instances_away RENAME TO instances');
  await client.end();
});
