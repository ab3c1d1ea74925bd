import type { Pool } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { makeAgents, operatorCaller, projectId } from '../../../test/support/runs.ts';
import { createLogger } from '../base/log.ts';
import { firstPlace, placeFromText, placeToText } from './model.ts';
import { ExportService } from './service.ts';

let db: TestDatabase;
const asked = { by: operatorCaller, requestId: 'req_t', projectId };

beforeAll(async () => {
  db = await createTestDatabase();
  await makeAgents(db);
});
afterAll(() => db?.drop());

const lines: string[] = [];
const service = (pool: Pool) =>
  new ExportService(pool, createLogger('info', { write: (line) => void lines.push(line) }));

test('a place whose transactions are still to come here is of another database, and is not gone on with', async () => {
  const { place } = await service(db.pool).begin(asked, null, []);
  await expect(service(db.pool).begin(asked, place, [])).resolves.toMatchObject({ place });
  const there = { ...place, snapshot: '900000000000:900000000000:' };
  await expect(service(db.pool).begin(asked, there, [])).rejects.toMatchObject({
    code: 'invalid_argument',
    message: expect.stringContaining('another database'),
  });
});

test('a place comes back from its text, and one of another version is known for that', () => {
  const begun = { begunAt: 1, snapshot: '1:1:', newestAttempt: 'att_1' };
  const place = firstPlace(begun, ['note', 'task']);
  expect(placeFromText(placeToText(place))).toEqual(place);
  expect(placeFromText(placeToText(place).replace('"note"', '"mood"'))).toBeNull();
  expect(placeFromText(JSON.stringify({ ...place, form: 2 }))).toBeNull();
  expect(placeFromText(JSON.stringify(place))).toBeNull();
});

test('an end that cannot be written is tried again as a broken one, said in the log, and leaves its place to others', async () => {
  let failures = 0;
  const pool = new Proxy(db.pool, {
    get: (target, name) =>
      name === 'connect' && failures-- > 0
        ? () => Promise.reject(new Error('no connection'))
        : (Reflect.get(target, name) as unknown),
  });
  const exports = service(pool);
  const stream = await exports.begin(asked, null, ['task']);
  failures = 1;
  await expect(stream.complete()).rejects.toThrow('no connection');
  await Promise.all([stream.break(), stream.break()]);
  const { rows } = await db.pool.query<{ payload: object }>(
    "SELECT payload FROM audit_entries WHERE action = 'export.ended'",
  );
  expect(rows).toEqual([{ payload: { complete: false, records: {} } }]);
  const another = await exports.begin(asked, null, ['task']);
  failures = 1;
  await another.break();
  expect(lines.join('')).toContain('the end of an export is not in the audit log');
});
