import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, createTestDatabase } from '../../../test/support/database.ts';
import { withinDeadline } from './deadline.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const never = new AbortController().signal;
const sleep = () => db.pool.query('SELECT pg_sleep(60)');

test('a client without a deadline, or with a long one, gets the longest that there is', async () => {
  await expect(withinDeadline(db.pool, never, 50, sleep)).rejects.toMatchObject({ code: 'deadline_exceeded' });
});

test.each([
  [new ConnectError('the operation timed out', Code.DeadlineExceeded), 'deadline_exceeded'],
  [new ConnectError('http/2 stream closed', Code.Canceled), 'client_closed'],
  [undefined, 'client_closed'],
])('%s is told as %s', async (reason, code) => {
  const ending = new AbortController();
  const asked = withinDeadline(db.pool, ending.signal, 60_000, sleep);
  setTimeout(() => ending.abort(reason), 20);
  await expect(asked).rejects.toMatchObject({ code });
  await expect(withinDeadline(db.pool, ending.signal, 60_000, sleep)).rejects.toMatchObject({ code });
});

test('what is done in time is not touched', async () => {
  const done = withinDeadline(db.pool, never, 60_000, async () => (await db.pool.query('SELECT 1 AS one')).rows);
  expect(await done).toEqual([{ one: 1 }]);
});
