import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BilledFigure, Booked, MatchedModel } from './model.ts';
import { busiestProject, changedFigures, dayKey, groupModels, isBeyond, matchDay, undated } from './rules.ts';

const tolerance = { basisPoints: 100, nanoUsd: 5_000_000_000n };
const where = { provider: 'claude', day: '2026-11-20' };

function figure(model: string, costUsd: bigint | null, tokens: bigint | null = null): BilledFigure {
  return { ...where, model, costUsd, tokensInput: tokens, tokensOutput: tokens === null ? null : 0n };
}

function booked(model: string, costUsd: bigint, more: Partial<Booked> = {}): Booked {
  return { ...where, model, projectId: 'prj_a', attempts: 1n, costUsd, estimatedUsd: 0n, tokens: 0n, ...more };
}

/** Names side by side, as text. */
function grouped(billed: string[], ledger: string[]): string[] {
  return groupModels(billed, ledger)
    .map((names) => `${names.billed.toSorted().join('+')}|${names.booked.toSorted().join('+')}`)
    .toSorted();
}

describe('names of models', () => {
  test('lose the dates that vendors put behind them, and nothing else', () => {
    expect(undated('claude-sonnet-4-5-20250929')).toBe('claude-sonnet-4-5');
    expect(undated('gpt-4o-mini-2024-07-18')).toBe('gpt-4o-mini');
    expect(undated('claude-haiku@20250701')).toBe('claude-haiku');
    for (const name of ['gpt-4o', 'o3', 'model-20', 'm-123456789', 'claude-20250929-x', 'x-19990101'])
      expect(undated(name)).toBe(name);
  });

  test('are one model when they are equal, or become equal when one of them loses its date', () => {
    expect(grouped(['a'], ['a'])).toEqual(['a|a']);
    expect(grouped(['a-20250101'], ['a'])).toEqual(['a-20250101|a']);
    expect(grouped(['a'], ['a-20250101'])).toEqual(['a|a-20250101']);
    expect(grouped(['a-20250101'], ['a-20250202'])).toEqual(['a-20250101|', '|a-20250202']);
    expect(grouped(['a', 'b'], ['c'])).toEqual(['a|', 'b|', '|c']);
    // Two releases behind one alias, and an alias beside the name that it stands for.
    expect(grouped(['a-20250101', 'a-20250202'], ['a'])).toEqual(['a-20250101+a-20250202|a']);
    expect(grouped(['a-20250101'], ['a', 'a-20250101'])).toEqual(['a-20250101|a+a-20250101']);
    // What is told apart on both sides stays apart.
    expect(grouped(['a', 'a-20250101'], ['a', 'a-20250101'])).toEqual(['a-20250101|a-20250101', 'a|a']);
    expect(grouped(['a-20250101', 'a-20250202'], ['a-20250101'])).toEqual(['a-20250101|a-20250101', 'a-20250202|']);
  });
});

describe('the tolerance', () => {
  test('is passed by a share of the bill or by an amount, whichever comes first', () => {
    const usd = 1_000_000_000n;
    expect(isBeyond(0n, 0n, tolerance)).toBe(false);
    expect(isBeyond(1n * usd, 100n * usd, tolerance)).toBe(false);
    expect(isBeyond(1n * usd + 1n, 100n * usd, tolerance)).toBe(true);
    expect(isBeyond(-1n * usd - 1n, 100n * usd, tolerance)).toBe(true);
    expect(isBeyond(5n * usd, 10_000n * usd, tolerance)).toBe(false);
    expect(isBeyond(5n * usd + 1n, 10_000n * usd, tolerance)).toBe(true);
    // Booked and not billed at all.
    expect(isBeyond(-1n, 0n, tolerance)).toBe(true);
  });
});

describe('a day', () => {
  test('is reconciled where bill and ledger agree, and what was billed beyond it stands apart', () => {
    const rows = matchDay(
      [figure('a-20250101', 1_000_000n), figure('b', 5_000n), figure('gone', 700n, 9n)],
      [booked('a', 995_000n, { estimatedUsd: 10n }), booked('b', 9_000n), booked('unbilled', 40n)],
      true,
      tolerance,
    );
    expect(
      rows.map(({ model, state, billedUsd, bookedUsd, unexplainedUsd }) => [
        model,
        state,
        billedUsd,
        bookedUsd,
        unexplainedUsd,
      ]),
    ).toEqual([
      ['a', 'reconciled', 1_000_000n, 995_000n, 5_000n],
      ['b', 'drifted', 5_000n, 9_000n, 0n],
      ['gone', 'drifted', 700n, 0n, 700n],
      ['unbilled', 'drifted', 0n, 40n, 0n],
    ]);
    expect(rows[0]).toMatchObject({ estimatedUsd: 10n, billedModels: ['a-20250101'], bookedModels: ['a'] });
  });

  test('of which tokens alone are known is never called reconciled', () => {
    const [agree, drift] = matchDay(
      [figure('a', null, 1_000n), figure('b', null, 1_000n)],
      [booked('a', 10n, { tokens: 995n }), booked('b', 10n, { tokens: 900n })],
      false,
      tolerance,
    );
    expect(agree).toMatchObject({ state: 'tokens_agree', billedUsd: null, unexplainedUsd: 0n });
    expect(drift).toMatchObject({ state: 'drifted', billedUsd: null, unexplainedUsd: 0n });
  });

  test('of which the bill lists fees apart: what the ledger has of them under models is explained by them', () => {
    const matched = (...args: Parameters<typeof matchDay>) =>
      matchDay(...args).map(({ model, state, billedUsd, bookedUsd, unexplainedUsd }) => [
        model,
        state,
        billedUsd,
        bookedUsd,
        unexplainedUsd,
      ]);
    const bill = [figure('x', 10_000n, 5n), figure('web_search', 10_000n)];
    expect(matched(bill, [booked('x', 20_000n)], true, tolerance)).toEqual([
      ['web_search', 'reconciled', 10_000n, 10_000n, 0n],
      ['x', 'reconciled', 10_000n, 10_000n, 0n],
    ]);
    // Of searches around the gate the rest stays unexplained, and a model's own surplus beyond the fees stays its drift.
    expect(matched(bill, [booked('x', 14_000n)], true, tolerance)).toEqual([
      ['web_search', 'drifted', 10_000n, 4_000n, 6_000n],
      ['x', 'reconciled', 10_000n, 10_000n, 0n],
    ]);
    expect(matched(bill, [booked('x', 23_000n)], true, tolerance)).toEqual([
      ['web_search', 'reconciled', 10_000n, 10_000n, 0n],
      ['x', 'drifted', 10_000n, 13_000n, 0n],
    ]);
    // Several fees and models: in the order of their names.
    const both = [...bill, figure('y', 1_000n, 5n), figure('code', 500n)];
    expect(matched(both, [booked('x', 10_300n), booked('y', 11_000n)], true, tolerance)).toEqual([
      ['code', 'reconciled', 500n, 500n, 0n],
      ['web_search', 'drifted', 10_000n, 9_800n, 200n],
      ['x', 'reconciled', 10_000n, 10_000n, 0n],
      ['y', 'reconciled', 1_000n, 1_000n, 0n],
    ]);
    // No fee is what has tokens, and no surplus what is not billed at all.
    expect(matched([figure('x', 10n, 5n), figure('y', 10n, 5n)], [booked('x', 20n)], true, tolerance)).toEqual([
      ['x', 'drifted', 10n, 20n, 0n],
      ['y', 'drifted', 10n, 0n, 10n],
    ]);
    expect(matched([figure('web_search', 10n)], [booked('x', 10n)], true, tolerance)).toEqual([
      ['web_search', 'drifted', 10n, 0n, 10n],
      ['x', 'drifted', 0n, 10n, 0n],
    ]);
  });

  const name = fc
    .tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('', '-20250101', '-2025-02-02'))
    .map(([base, date]) => base + date);
  const fee = fc.constantFrom('web_search', 'code_execution');
  const amount = fc.bigInt({ min: 0n, max: 10n ** 12n });

  test('adds up for any data: booked and unexplained, less what was booked too much, is what was billed', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.oneof(name, fee), amount, fc.option(amount)), { selector: ([model]) => model }),
        fc.array(fc.tuple(name, amount, fc.constantFrom('prj_a', 'prj_b'))),
        (bill, ledger) => {
          const figures = bill.map(([model, cost, tokens]) => figure(model, cost, tokens));
          const entries = ledger.map(([model, cost, projectId]) =>
            booked(model, cost, { projectId, estimatedUsd: cost / 2n }),
          );
          const rows = matchDay(figures, entries, true, tolerance);
          const sum = (amounts: readonly bigint[]) => amounts.reduce((total, each) => total + each, 0n);
          for (const row of rows) {
            const over = row.bookedUsd - row.billedUsd! + row.unexplainedUsd;
            expect(over >= 0n && (over === 0n || row.unexplainedUsd === 0n)).toBe(true);
            expect(row.state === 'drifted').toBe(isBeyond(row.billedUsd! - row.bookedUsd, row.billedUsd!, tolerance));
          }
          expect(sum(rows.map(({ billedUsd }) => billedUsd!))).toBe(sum(bill.map(([, cost]) => cost)));
          expect(sum(rows.map(({ bookedUsd }) => bookedUsd))).toBe(sum(ledger.map(([, cost]) => cost)));
          // Each name is in one row, and no two rows have one name.
          expect(rows.flatMap(({ billedModels }) => billedModels).toSorted()).toEqual(
            bill.map(([model]) => model).toSorted(),
          );
          expect(rows.flatMap(({ bookedModels }) => bookedModels).toSorted()).toEqual(
            [...new Set(ledger.map(([model]) => model))].toSorted(),
          );
          expect(new Set(rows.map(({ model }) => model)).size).toBe(rows.length);
          // Of what a model was booked beyond its bill, as much goes to fees as there is, or as they are.
          const own = new Map(
            rows.map((row) => [
              row,
              sum(entries.filter(({ model }) => row.bookedModels.includes(model)).map(({ costUsd }) => costUsd)),
            ]),
          );
          const isFee = ({ billedModels, bookedModels, billedTokens }: MatchedModel) =>
            billedModels.length > 0 && bookedModels.length === 0 && billedTokens === null;
          for (const row of rows) {
            const moved = row.bookedUsd - own.get(row)!;
            const isSurplus = row.billedUsd! > 0n && row.bookedUsd >= row.billedUsd!;
            expect(moved === 0n || (moved > 0n ? isFee(row) : isSurplus)).toBe(true);
            expect(row.estimatedUsd >= 0n && row.estimatedUsd <= row.bookedUsd).toBe(true);
          }
          expect(sum(rows.map(({ estimatedUsd }) => estimatedUsd))).toBe(sum(ledger.map(([, cost]) => cost / 2n)));
          const unexplainedFee = rows.some((row) => isFee(row) && row.unexplainedUsd > 0n);
          expect(unexplainedFee && rows.some((row) => row.billedUsd! > 0n && row.bookedUsd > row.billedUsd!)).toBe(
            false,
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  test('belongs to the project with most attempts; of several to the first', () => {
    const of = (projectId: string, attempts: bigint) => booked('a', 0n, { projectId, attempts });
    expect(busiestProject([of('prj_b', 2n), of('prj_a', 1n), of('prj_a', 2n)])).toBe('prj_a');
    expect(busiestProject([of('prj_b', 2n), of('prj_a', 2n)])).toBe('prj_a');
    // Corrections alone are no attempts.
    expect(busiestProject([of('prj_b', 0n)])).toBeNull();
    expect(busiestProject([])).toBeNull();
  });
});

describe('an import', () => {
  test('changes what it says anew, keeps what it does not say, and ends what a whole day leaves out', () => {
    const known = [figure('a', 10n, 5n), figure('b', 20n), figure('c', 30n), figure('d', null, 7n)];
    const told = [figure('a', 11n), figure('b', 20n), figure('d', null, 8n)];
    expect(changedFigures(known, told, new Set())).toEqual([figure('a', 11n, 5n), figure('d', null, 8n)]);
    expect(changedFigures(known, told, new Set([dayKey(where)]))).toEqual([
      figure('a', 11n, 5n),
      figure('d', null, 8n),
      figure('c', 0n),
    ]);
    expect(changedFigures([figure('a', 11n, 5n)], [figure('a', 11n)], new Set())).toEqual([]);
  });
});
