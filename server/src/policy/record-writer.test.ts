import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { policyRecordBytesMax, policyRecordsWaitingMax } from '../base/limits.ts';
import type { CallFacts } from './judgement.ts';
import { deleteRecordsBefore, findFirstKept, selectRecords } from './record-store.ts';
import { PolicyRecords } from './record-writer.ts';

let db: TestDatabase;
let projectId: string;
let dropped: [reason: string, count: number][];

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  dropped = [];
  projectId = newId('prj');
  await db.pool.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, 1)', [projectId]);
});

function callWith(args: CallFacts['facts']['args'] = {}): CallFacts {
  return {
    facts: {
      action: 'models.invoke',
      principal: { kind: 'agent', id: 'a', name: 'a', agent: 'a', person: null, key: null, teams: [], scopes: [] },
      resource: { type: 'model', name: 'm', provider: 'p', route: 'm' },
      args,
      run: null,
      time: 1,
    },
    otherNames: ['n'],
    otherProviders: [],
  };
}

const judged = { requestId: 'req_1', version: 3, verdict: 'deny', rule: 'no', shadows: [] } as const;
const all = { first: 'pol_', before: 'pol_~' };

function records(pool = db.pool): PolicyRecords {
  return new PolicyRecords(pool, systemClock, (reason, count) => dropped.push([reason, count]));
}

test('a call is recorded as it was judged, whatever text a caller put into it', async () => {
  const writer = records();
  const hostile = { text: 'nul \0, quote " \\ {,} \u{1f600} \u2028', list: ['{}', 'NULL', ''] };
  writer.note(callWith(hostile), { ...judged, projectId });
  writer.note(callWith({ half: '\ud800' }), { ...judged, projectId, shadows: [{ policyVersion: 4, verdict: 'deny' }] });
  await writer.flush();
  const rows = await selectRecords(db.pool, projectId, all, 10);
  const [first, second] = rows.toSorted((one) => ('text' in one.facts.facts.args ? -1 : 1));
  expect(first).toMatchObject({
    requestId: 'req_1',
    version: 3,
    verdict: 'deny',
    rule: 'no',
    facts: callWith(hostile),
  });
  expect(second?.facts).toEqual(callWith({ half: '\ud800' }));
  expect(dropped).toEqual([]);
});

test('what is too large, too much, or not taken by the database is dropped and counted, and no call waits', async () => {
  const writer = records();
  writer.note(callWith({ text: 'x'.repeat(policyRecordBytesMax) }), { ...judged, projectId });
  expect(dropped).toEqual([['too_large', 1]]);
  for (let at = 0; at <= policyRecordsWaitingMax; at++) writer.note(callWith(), { ...judged, projectId });
  expect(dropped.slice(1)).toEqual([['queue_full', 1]]);
  const away = await createTestDatabase();
  await away.drop();
  const lost = records(away.pool);
  lost.note(callWith(), { ...judged, projectId });
  await lost.stop();
  expect(dropped.at(-1)).toEqual(['not_written', 1]);
  await writer.stop();
  expect((await selectRecords(db.pool, projectId, all, policyRecordsWaitingMax + 1)).length).toBe(
    policyRecordsWaitingMax,
  );
});

test('a stop gives up at the first statement that fails: what waits is dropped and counted', async () => {
  const away = await createTestDatabase();
  await away.drop();
  const lost = records(away.pool);
  for (let at = 0; at < 1_200; at++) lost.note(callWith(), { ...judged, projectId });
  await lost.stop();
  expect(dropped).toEqual([
    ['not_written', 500],
    ['not_written', 700],
  ]);
});

test('a stop does not wait for a database that says nothing', async () => {
  const held = await db.pool.connect();
  await held.query('BEGIN; LOCK TABLE policy_records IN ACCESS EXCLUSIVE MODE');
  const writer = records();
  for (let at = 0; at < 700; at++) writer.note(callWith(), { ...judged, projectId });
  await writer.stop();
  await held.query('ROLLBACK');
  held.release();
  expect(dropped).toEqual([['not_written', 200]]);
});

test('records go by their age, and the oldest of a project that has too many', async () => {
  const now = Date.now();
  const day = 86_400_000;
  for (const age of [0, 1, 2, 3, 4, 5]) {
    await db.pool.query(
      `INSERT INTO policy_records (project_id, id, request_id, facts, verdict) VALUES ($1, $2, $3, '{}', 'allow')`,
      [projectId, newId('pol', now - age * day - 1), `${age} days`],
    );
  }
  const left = async () => (await selectRecords(db.pool, projectId, all, 10)).map(({ requestId }) => requestId);
  await records().purge(4);
  expect(await left()).toEqual(['0 days', '1 days', '2 days', '3 days']);
  const first = await findFirstKept(db.pool, projectId, { beforeMs: 0, kept: 2 });
  expect(await deleteRecordsBefore(db.pool, projectId, first, 1)).toBe(1);
  expect(await deleteRecordsBefore(db.pool, projectId, first, 10)).toBe(1);
  expect(await left()).toEqual(['0 days', '1 days']);
});
