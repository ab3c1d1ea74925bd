import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { projectId } from '../../../test/support/ledger.ts';
import { attemptAt, dayMs, dayOf, everything, makeDay, noon, writeRows } from '../../../test/support/ledger-days.ts';
import { newId } from '../base/ids.ts';
import { noUsage } from '../llm/usage.ts';
import type { Attempt } from './model.ts';
import { addLedgerDays } from './retention-store.ts';
import { type UsageGroup, sumUsage, usageGroups } from './usage-store.ts';
import { type UsageFilter, attemptOutcomes } from './usage-store-filter.ts';
import { listAttempts } from './usage-store-list.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  // Days of the past with a gap between them; what falls into it, and into absurd times, has no day of its own.
  for (const ago of [2, 3, 4, 8, 9, 40]) await makeDay(db, dayOf(noon(-ago)));
});
afterAll(() => db.drop());

const day = fc.oneof(fc.integer({ min: -41, max: 15 }), fc.constantFrom(-3, -2, -1, 0, -20_000, 20_000));
const part = fc.record({
  cost: fc.integer({ min: -1000, max: 1000 }),
  outcome: fc.constantFrom(...attemptOutcomes),
  provenance: fc.constantFrom('estimated', 'measured', 'reconciled'),
});
const rowsOfOne = fc
  .record({
    day,
    inDayMs: fc.integer({ min: 0, max: dayMs - 1 }),
    agentId: fc.constantFrom('agt_1', 'agt_2', null),
    model: fc.constantFrom('a', 'b'),
    first: part,
    corrections: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(part, { maxLength: 2 }) },
    ),
  })
  .map(({ day: at, inDayMs, agentId, model, first, corrections }): Attempt[] => {
    const startedAt = Math.max(0, noon(at) - dayMs / 2 + inDayMs);
    const known = { id: newId('att', startedAt), agentId, modelAsked: model };
    return [first, ...corrections].map(({ cost, outcome, provenance }, nth) =>
      attemptAt(startedAt, {
        ...known,
        costUsd: BigInt(cost),
        usage: { ...noUsage, input: cost },
        outcome,
        provenance,
        corrects: nth === 0 ? null : known.id,
      }),
    );
  });
const filters = fc.record({
  from: fc.option(day.map(noon)),
  to: fc.option(day.map(noon)),
  agentId: fc.constantFrom(null, 'agt_1'),
  model: fc.constantFrom(null, 'b'),
  outcome: fc.constantFrom(null, ...attemptOutcomes),
});

let runs = 0;

test('sums and lists tell what was written, whichever days it lies in and in whatever order it came', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowsOfOne, { maxLength: 25 }),
      filters,
      fc.constantFrom(...usageGroups),
      fc.integer({ min: 1, max: 30 }),
      async (attempts, narrowed, group, pageSize) => {
        const project = `${projectId}_${++runs}`;
        const written = attempts.map((rows) => rows.map((row) => ({ ...row, projectId: project })));
        // First rows, then corrections, as time goes.
        for (const nth of [0, 1, 2])
          await writeRows(
            db.pool,
            written.flatMap((rows) => rows[nth] ?? []),
          );
        const filter = { ...everything, ...narrowed, projectId: project };
        const expected = expectedSums(written, filter, group);
        const listed = written
          .filter((rows) => filter.outcome === null || rows.at(-1)?.outcome === filter.outcome)
          .flatMap((rows) => rows.toReversed())
          .filter((row) => isOf(row, filter));
        const check = async () => {
          expect(await sums(filter, group)).toEqual(expected);
          expect(await costs(filter, pageSize)).toEqual(
            listed.toSorted((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)).map(({ id, costUsd }) => [id, costUsd]),
          );
        };
        await check();
        // Rows that lay outside of any day get one, and nobody sees it.
        if (runs % 20 === 0) {
          while ((await addLedgerDays(db.pool, 14)) > 0);
          await check();
        }
      },
    ),
    { numRuns: 150 },
  );
});

async function sums(filter: UsageFilter, group: UsageGroup) {
  const totals = await sumUsage(db.pool, filter, group, 500);
  return Object.fromEntries(
    totals.map((total) => [
      total.key,
      [
        total.attempts,
        total.refused,
        total.costUsd,
        total.tokensInput,
        total.estimatedUsd,
        total.measuredUsd,
        total.reconciledUsd,
      ],
    ]),
  );
}

async function costs(filter: UsageFilter, pageSize: number) {
  const seen = [];
  for (let cursor: string | null = null; ;) {
    const page: Awaited<ReturnType<typeof listAttempts>> = await listAttempts(
      db.pool,
      filter,
      { pageSize, cursor },
      Date.now(),
    );
    seen.push(...page.items.map(({ attempt }) => [attempt.id, attempt.costUsd]));
    cursor = page.nextCursor;
    if (cursor === null) return seen;
  }
}

function isOf(row: Attempt, { from, to, agentId, model }: UsageFilter): boolean {
  return (
    (from === null || row.startedAt >= from) &&
    (to === null || row.startedAt < to) &&
    (agentId === null || row.agentId === agentId) &&
    (model === null || row.modelAsked === model)
  );
}

function keyOf(row: Attempt, group: UsageGroup): string {
  if (group === 'day') return dayOf(row.startedAt);
  return { agent: row.agentId, model: row.modelAsked, provider: row.provider, run: row.runId }[group] ?? '';
}

/** By the meaning: an attempt is the sum of its rows, and what the last of them says of it. */
function expectedSums(attempts: readonly Attempt[][], filter: UsageFilter, group: UsageGroup) {
  const found: Record<string, bigint[]> = {};
  for (const rows of attempts) {
    const [first, last] = [rows[0], rows.at(-1)];
    if (!first || !last || !isOf(first, filter)) continue;
    if (filter.outcome !== null && last.outcome !== filter.outcome) continue;
    const sum = (found[keyOf(first, group)] ??= [0n, 0n, 0n, 0n, 0n, 0n, 0n]);
    const cost = rows.reduce((all, { costUsd }) => all + costUsd, 0n);
    const parts = [
      1n,
      ['refused', 'budget', 'killed'].includes(last.outcome) ? 1n : 0n,
      cost,
      cost,
      ...['estimated', 'measured', 'reconciled'].map((provenance) => (last.provenance === provenance ? cost : 0n)),
    ];
    for (const [at, value] of parts.entries()) sum[at] = (sum[at] ?? 0n) + value;
  }
  return found;
}
