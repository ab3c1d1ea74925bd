import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import { createEmptyDatabase, type TestDatabase } from './support/database.ts';
import { secretsKey, startGate, type TestGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, post } from './support/models.ts';

/** A gate moves into a new database, and goes on as if nothing had happened. */

let mock: MockUpstream;
let target: TestDatabase;
let first: TestGate;
let second: TestGate | undefined;

beforeAll(async () => {
  mock = await startMockUpstream();
  target = await createEmptyDatabase();
  first = await startGate({ yaml: mockConfiguration(mock) });
});
afterAll(async () => {
  await second?.stop();
  await first?.stop();
  await target?.drop();
  await mock?.stop();
});

function migrateCommand(from: string | undefined, ...flags: string[]) {
  return runCommand(['migrate', ...flags], {
    environment: {
      DATABASE_URL: target.appUrl,
      MIGRATE_DATABASE_URL: target.ownerUrl,
      SECRETS_KEY: secretsKey,
      ...(from === undefined ? {} : { COPY_FROM_DATABASE_URL: from }),
    },
  });
}

test('a gate goes on in the database that its own was copied into: keys, budgets, the ledger, the audit log', async () => {
  const { agentId, secret } = await first.agent('mover');
  await first.budget({ name: 'all of it', unit: 'USD', limit: 10_000_000_000n, selector: { agentId } });
  const call = (gate: TestGate) =>
    post(gate, doors.anthropic.path, ask('claude-whole'), { authorization: `Bearer ${secret}` });
  await mock.script({ model: 'claude-whole', tokens: 5 });
  expect((await call(first)).status).toBe(200);
  await expect.poll(async () => (await first.ledger()).length).toBe(1);
  const [ledger, standing] = [await first.ledger(), await first.standing('all of it')];

  const refused = await migrateCommand(first.database.appUrl, '--copy-from');
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('A gate runs on the database to copy from'),
  });
  await first.end();
  expect(await migrateCommand(undefined, '--copy-from')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('COPY_FROM_DATABASE_URL is not set'),
  });
  const copied = await migrateCommand(first.database.appUrl, '--copy-from');
  expect(copied.stdout).toMatch(/copied attempts: 1 rows, \d+\.\d MB, \d+\.\d MB\/s\n/);
  expect(copied).toMatchObject({ code: 0, stdout: expect.stringMatching(/All of it was copied and checked\.\n$/) });

  second = await startGate({
    database: target,
    yaml: mockConfiguration(mock),
    env: { ADMIN_API_KEY: first.adminKey },
  });
  expect(await second.api('AnalyticsService/ListAttempts', {}, first.adminKey)).toMatchObject({ attempts: ledger });
  const audit = `SELECT count(*)::int AS entries FROM audit_entries WHERE action = 'agent.created'`;
  expect((await target.pool.query(audit)).rows).toEqual([{ entries: 1 }]);
  expect((await call(second)).status).toBe(200);
  const spentTwice = async () => {
    const sql = `SELECT sum(posted)::text AS posted FROM budget_counters`;
    return (await target.pool.query<{ posted: string }>(sql)).rows[0]?.posted;
  };
  await expect.poll(spentTwice).toBe(String(standing.posted * 2n));
  expect(await migrateCommand(first.database.appUrl, '--copy-from')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('has data'),
  });
});
