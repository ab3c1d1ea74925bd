import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { inTransaction } from '../pg/tx.ts';
import { appendAudit, type AuditEntry } from './append.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const entry: AuditEntry = {
  actor: { kind: 'operator', id: 'psn_1' },
  action: 'key.revoked',
  target: 'Ab0123456789',
  projectId: 'prj_1',
  requestId: 'req_1',
  payload: { b: [1, null, 'ü'], a: { d: false, c: 1.5 } },
};

async function stored() {
  const { rows } = await db.pool.query('SELECT * FROM audit_entries ORDER BY id');
  return rows;
}

it('an entry is part of the change that it records: it comes and goes with it', async () => {
  const change = inTransaction(db.pool, async (tx) => {
    await appendAudit(tx, entry);
    throw new Error('the change failed');
  });
  await expect(change).rejects.toThrow('the change failed');
  expect(await stored()).toEqual([]);

  await inTransaction(db.pool, (tx) => appendAudit(tx, entry));
  expect(await stored()).toMatchObject([
    {
      actor_kind: 'operator',
      actor_id: 'psn_1',
      action: 'key.revoked',
      target: 'Ab0123456789',
      project_id: 'prj_1',
      request_id: 'req_1',
      payload: entry.payload,
      seq: null,
    },
  ]);
});

it('the digest is over salt and canonical payload, and equal payloads cannot be told by it', async () => {
  await inTransaction(db.pool, (tx) => appendAudit(tx, entry));
  const rows = await stored();
  for (const { salt, payload_digest: digest } of rows) {
    const text = '{"a":{"c":1.5,"d":false},"b":[1,null,"ü"]}';
    expect(createHash('sha256').update(salt).update(text).digest()).toEqual(digest);
  }
  expect(rows.length).toBeGreaterThan(1);
  expect(new Set(rows.map(({ payload_digest: digest }) => digest.toString('hex'))).size).toBe(rows.length);
});

it.each([
  'UPDATE audit_entries SET target = target',
  'UPDATE audit_entries SET seq = 1',
  'DELETE FROM audit_entries',
  'TRUNCATE audit_entries',
])('the role of the application cannot change what was written: %s', async (statement) => {
  await expect(db.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
});
