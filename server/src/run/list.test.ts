import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { agentCaller, makeAgents, operatorCaller, projectId, writeRun } from '../../../test/support/runs.ts';
import { idTime, newId } from '../base/ids.ts';
import { listRuns } from './list.ts';
import type { RunFilter } from './list-filter.ts';
import { type Run, runStates } from './model.ts';

const everything: RunFilter = {
  projectId,
  agentId: null,
  workflow: null,
  state: null,
  promptVersion: null,
  taskId: null,
  from: null,
  to: null,
};
const now = Date.parse('2026-11-23T12:00:00Z');
const digest = 'ab'.repeat(32);
let db: TestDatabase;
const made: (Pick<Run, 'id' | 'agentId' | 'workflow' | 'state'> & Partial<Run>)[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  await makeAgents(db);
  await queryAsOwner(
    db,
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
     VALUES ('pv_1', 'prj_a', 'a', $1, 'terse', 'test')`,
    [digest],
  );
  for (let n = 0; n < 150; n++) {
    const startedAt = now + Math.floor(n / 3) * 1000;
    const run = {
      id: newId('run', startedAt),
      agentId: ['agt_1', 'agt_2', 'agt_b'][n % 3]!,
      workflow: ['a', 'b', 'Ä'][(n % 5) % 3]!,
      state: runStates[(n % 7) % 4]!,
      taskId: [null, 'one', 'two'][(n % 4) % 3]!,
      promptVersion: [null, digest][n % 2]!,
      startedAt,
    };
    made.push(run);
    await writeRun(db, run);
  }
});
afterAll(() => db?.drop());

/** All pages, by ids. */
async function listed(filter: Partial<RunFilter>, pageSize: number, by = operatorCaller): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | null = null; ;) {
    const page = await listRuns(db.pool, by, { ...everything, ...filter }, { pageSize, cursor });
    ids.push(...page.items.map(({ id }) => id));
    if (page.nextCursor === null) return ids;
    cursor = page.nextCursor;
  }
}

const combinations: readonly (readonly (keyof RunFilter)[])[] = [
  [],
  ['agentId'],
  ['workflow'],
  ['state'],
  ['taskId'],
  ['workflow', 'state'],
  ['workflow', 'promptVersion'],
  ['agentId', 'workflow'],
  ['agentId', 'state'],
  ['agentId', 'taskId'],
];

describe('a list of runs', () => {
  test('has those that match, newest first, whatever the filter, the times and the pages', async () => {
    const time = fc.option(fc.integer({ min: now - 1000, max: now + 52_000 }));
    const asked = fc.record({
      set: fc.constantFrom(...combinations),
      agentId: fc.constantFrom('agt_1', 'agt_2', 'agt_b', 'agt_none'),
      workflow: fc.constantFrom('a', 'b', 'Ä', 'A', 'ä'),
      state: fc.constantFrom(...runStates),
      taskId: fc.constantFrom('one', 'two', 'three'),
      promptVersion: fc.constantFrom(digest, 'f'.repeat(64)),
      from: time,
      to: time,
      pageSize: fc.integer({ min: 1, max: 20 }),
    });
    await fc.assert(
      fc.asyncProperty(asked, async ({ set, pageSize, from, to, ...values }) => {
        const filter = Object.fromEntries(set.map((name) => [name, values[name as keyof typeof values]]));
        const matches = (run: (typeof made)[number]) => {
          const at = idTime(run.id)!;
          return (
            run.agentId !== 'agt_b' &&
            set.every((name) => run[name as keyof typeof run] === filter[name]) &&
            (from === null || at >= from) &&
            (to === null || at < to)
          );
        };
        const expected = made.filter(matches).map(({ id }) => id);
        expect(await listed({ ...filter, from, to }, pageSize)).toEqual(expected.toSorted().toReversed());
      }),
      { numRuns: 150 },
    );
  });

  test('is an agent’s own, and empty where it names another', async () => {
    const own = made.filter(({ agentId }) => agentId === 'agt_2').map(({ id }) => id);
    for (const filter of [{}, { agentId: 'agt_2' }])
      expect(await listed(filter, 500, agentCaller('agt_2'))).toEqual(own.toSorted().toReversed());
    for (const agentId of ['agt_1', 'agt_b', 'agt_none'])
      expect(await listed({ agentId }, 500, agentCaller('agt_2'))).toEqual([]);
    await expect(listed({}, 10, agentCaller('agt_2', { runId: 'run_1' }))).rejects.toMatchObject({
      code: 'policy_denied',
    });
  });

  test('finds a version by its label, in its workflow', async () => {
    const byDigest = await listed({ workflow: 'a', promptVersion: digest }, 500);
    expect(byDigest.length).toBeGreaterThan(0);
    expect(await listed({ workflow: 'a', promptVersion: 'terse' }, 500)).toEqual(byDigest);
    expect(await listed({ workflow: 'a', promptVersion: digest.toUpperCase() }, 500)).toEqual(byDigest);
    await expect(listed({ workflow: 'b', promptVersion: 'terse' }, 500)).rejects.toMatchObject({ code: 'not_found' });
  });

  test.each<[string, Partial<RunFilter>, Parameters<typeof listed>[2]]>([
    ['prompt_version', { promptVersion: digest }, operatorCaller],
    ['task_id', { taskId: 'one', workflow: 'a' }, operatorCaller],
    ['task_id', { taskId: 'one', state: 'failed' }, operatorCaller],
    ['state', { agentId: 'agt_1', workflow: 'a', state: 'failed' }, operatorCaller],
    ['prompt_version', { workflow: 'a', promptVersion: digest }, agentCaller('agt_1')],
    ['workflow', { workflow: 'a\0b' }, operatorCaller],
    ['prompt_version', { workflow: 'a', promptVersion: 'a\0b' }, operatorCaller],
    ['state', { workflow: 'a', state: 'failed' }, agentCaller('agt_1')],
  ])('is not offered where no index serves it, or no run can have it: with such a %s', async (param, filter, by) => {
    await expect(listed(filter, 10, by)).rejects.toMatchObject({ code: 'invalid_argument', members: { param } });
  });

  test('has what is counted of each run, and nothing where nothing is', async () => {
    const [first, second] = made;
    await queryAsOwner(
      db,
      `INSERT INTO run_totals (run_id, project_id, attempts, events, cost_nanousd, estimated_nanousd, model)
       VALUES ($1, 'prj_a', 3, 7, 100, 40, 'claude')`,
      [first!.id],
    );
    const { items } = await listRuns(db.pool, operatorCaller, everything, { pageSize: 500, cursor: null });
    const of = (id: string) => items.find((item) => item.id === id);
    expect(of(first!.id)).toMatchObject({
      events: 7n,
      model: 'claude',
      totals: { attempts: 3n, costUsd: 100n, estimatedUsd: 40n, measuredUsd: 60n },
    });
    expect(of(second!.id)).toMatchObject({ events: 0n, model: '', totals: { attempts: 0n, costUsd: 0n } });
  });
});
