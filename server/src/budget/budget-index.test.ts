import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { agentId, makeBudget, operator, projectId, seedProject, spender } from '../../../test/support/ledger.ts';
import { BudgetIndex } from './budget-index.ts';
import { BudgetService } from './budget-service.ts';
import type { Budget } from './model.ts';
import { counts } from './rules.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
});
afterAll(() => db.drop());

const everything: Budget['selector'] = {
  teamId: null,
  personId: null,
  agentId: null,
  keyId: null,
  workflow: null,
  runId: null,
  providerType: null,
  provider: null,
  model: null,
};

const plain = { name: 'any', unit: 'usd', window: 'day', timeZone: 'UTC', limit: null, mode: 'enforce' } as const;

describe('the index of budgets', () => {
  test('finds exactly what a look at every budget finds, whatever changes', async () => {
    const value = (...names: string[]) => fc.constantFrom(null, null, ...names);
    const selectors = fc.record({
      teamId: value('team_1', 'team_2', 'team_3'),
      personId: value('psn_1', 'psn_2'),
      agentId: value('agt_1', 'agt_2'),
      keyId: value('mkey', 'key_2'),
      workflow: value('flow', 'other'),
      runId: value('run_1', 'run_2'),
      providerType: fc.constantFrom(null, null, 'api' as const, 'subscription' as const),
      provider: value('sim', 'agt_1'),
      model: value('sim-1', 'sim-*', 'key', '*'),
    });
    const callers = fc.record({
      projectId: fc.constantFrom('prj_1', 'prj_2'),
      teams: fc.subarray(['team_1', 'team_2', 'team_3']),
      personId: value('psn_1', 'psn_2'),
      agentId: value('agt_1', 'agt_2'),
      keyId: value('mkey', 'key_2'),
      workflow: value('flow', 'other'),
      runId: value('run_1', 'run_2'),
      providerType: fc.constantFrom('api' as const, 'subscription' as const),
      provider: fc.constantFrom('sim', 'agt_1'),
      model: fc.constantFrom('sim-1', 'sim-2', 'key'),
    });
    const changes = fc.array(
      fc.record({
        id: fc.integer({ min: 0, max: 30 }).map((n) => `bud_${n}`),
        projectId: fc.constantFrom('prj_1', 'prj_2'),
        selector: selectors,
        deleted: fc.boolean(),
      }),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(changes, { maxLength: 4 }),
        fc.array(callers, { maxLength: 10 }),
        async (reads, calls) => {
          const index = new BudgetIndex();
          const known = new Map<string, Budget>();
          for (const read of reads) {
            const once = [...new Map(read.map((one) => [one.id, one])).values()];
            (await index.load({ query: async () => ({ rows: once.map(rowOf) }) } as never, 0n))();
            for (const { id, deleted, projectId: project, selector } of once) {
              if (deleted) known.delete(id);
              else known.set(id, { ...plain, id, projectId: project, selector });
            }
          }
          for (const call of calls) {
            const expected = [...known.values()].filter((one) => one.projectId === call.projectId && counts(one, call));
            expect(
              index
                .matching(call)
                .map(({ id }) => id)
                .sort(),
            ).toEqual(expected.map(({ id }) => id).sort());
          }
        },
      ),
      { numRuns: 300 },
    );

    function rowOf({
      id,
      projectId: project,
      selector,
      deleted,
    }: {
      id: string;
      projectId: string;
      selector: Budget['selector'];
      deleted: boolean;
    }) {
      return {
        id,
        project_id: project,
        name: id,
        team_id: selector.teamId,
        person_id: selector.personId,
        agent_id: selector.agentId,
        key_id: selector.keyId,
        workflow: selector.workflow,
        run_id: selector.runId,
        provider_type: selector.providerType,
        provider: selector.provider,
        model: selector.model,
        window: 'day',
        created_at: new Date(0),
        deleted,
      };
    }
  });

  test('follows the database and finds what counts a call, of its project only', async () => {
    const index = new BudgetIndex();
    const everyone = await makeBudget(db.pool);
    const mine = await makeBudget(db.pool, { selector: { ...everything, agentId } });
    const models = await makeBudget(db.pool, { selector: { ...everything, agentId, model: 'other-*' } });
    (await index.load(db.pool, 0n))();
    const found = () => index.matching(spender).map(({ id }) => id);
    expect(new Set(found())).toEqual(new Set([everyone.id, mine.id]));
    expect(index.matching({ ...spender, model: 'other-1' }).map(({ id }) => id)).toContain(models.id);
    expect(index.matching({ ...spender, agentId: null }).map(({ id }) => id)).toEqual([everyone.id]);
    expect(index.matching({ ...spender, projectId: 'prj_other' })).toEqual([]);

    const service = new BudgetService(db.pool, () => Date.now());
    const { version } = await service.delete(operator, 'req_1', { projectId, id: everyone.id });
    const apply = await index.load(db.pool, version - 1n);
    expect(found()).toHaveLength(2);
    apply();
    expect(found()).toEqual([mine.id]);
  });
});
