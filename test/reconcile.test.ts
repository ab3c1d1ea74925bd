import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  adminKey,
  anthropicCost,
  anthropicDay,
  anthropicUsage,
  type BillDesk,
  lastPage,
  openBillDesk,
  pageBefore,
} from './support/bill-desk.ts';
import { pastDay } from './support/ledger-rows.ts';

/** Bills come in from a vendor's admin API by the command line, and are matched with the ledger of a real gate. */

let desk: BillDesk;
beforeAll(async () => {
  desk = await openBillDesk();
});
afterAll(() => desk.stop());
beforeEach(() => {
  desk.vendor.asked.length = 0;
});

const [yesterday, before, older] = [pastDay(1), pastDay(2), pastDay(3)];

const costs = '/v1/organizations/cost_report';
const usage = '/v1/organizations/usage_report/messages';

describe("Anthropic's admin API", () => {
  const model = 'claude-haiku-4-5-20251001';
  const fetching = (...args: string[]) =>
    desk.reconcile(
      ['import', 'anthropic', '--provider', 'claude', '--base-url', desk.vendor.url, '--since', older, ...args],
      {
        ANTHROPIC_ADMIN_KEY: adminKey,
      },
    );

  test('is read page by page, waits as it is told, and its days are matched with the ledger', async () => {
    await desk.attempt({ at: `${before}T10:00:00Z`, cost: 1_000_000_000n });
    await desk.attempt({ at: `${before}T11:00:00Z`, cost: 500_000_000n, provenance: 'estimated' });
    await desk.attempt({ at: `${yesterday}T10:00:00Z`, cost: 2_000_000_000n });
    desk.vendor.answer(costs, {
      '': pageBefore('page_two', anthropicDay(before, anthropicCost('100.25', model), anthropicCost('50', model))),
      page_two: lastPage(anthropicDay(yesterday, anthropicCost('300', model), anthropicCost('12', null))),
    });
    desk.vendor.answer(usage, { '': lastPage(anthropicDay(before, anthropicUsage(150, 50, model))) });
    desk.vendor.refuse({ status: 429, retryAfter: '0' }, { status: 529, retryAfter: '0' });
    const run = await fetching();
    expect(run).toMatchObject({ code: 0 });
    expect(run.stderr).toContain('Anthropic is busy (429): waiting 0 s.');
    expect(run.stdout).toContain('2 days of providers: 1 models reconciled, 2 drifted.');
    // $4.6225 billed: 1.5025 and 3.12; booked 3.50.
    expect(run.stdout).toContain(
      'Billed $4.6225, booked $3.50; unexplained $1.1225, which is in no total of attempts.',
    );
    expect(
      (await desk.matches('claude')).map((row) => [
        row.day,
        row.model,
        row.state,
        row.billedNanousd,
        row.bookedNanousd,
        row.unexplainedNanousd,
      ]),
    ).toEqual([
      [yesterday, 'web_search', 'MATCH_STATE_DRIFTED', '120000000', '0', '120000000'],
      [yesterday, 'claude-haiku-4-5', 'MATCH_STATE_DRIFTED', '3000000000', '2000000000', '1000000000'],
      [before, 'claude-haiku-4-5', 'MATCH_STATE_RECONCILED', '1502500000', '1500000000', '2500000'],
    ]);
    expect(desk.vendor.asked.map(({ path, query }) => [path, query.get('page')])).toEqual([
      [costs, null],
      [costs, null],
      [costs, null],
      [costs, 'page_two'],
      [usage, null],
    ]);
    const [first] = desk.vendor.asked;
    expect(first?.headers).toMatchObject({ 'x-api-key': adminKey, 'anthropic-version': '2023-06-01' });
    expect([...(first?.query ?? [])]).toEqual([
      ['starting_at', `${older}T00:00:00Z`],
      ['ending_at', `${pastDay(0)}T00:00:00Z`],
      ['bucket_width', '1d'],
      ['limit', '31'],
      ['group_by[]', 'description'],
    ]);
    expect(run.stdout + run.stderr + desk.gate.output + (await desk.gate.settledLog())).not.toContain(adminKey);
  });

  test('asked again changes nothing, and what it bills later replaces what it billed first', async () => {
    const again = await fetching();
    expect(again.stdout).toMatch(/^Known already as imp_\w+: nothing was imported\./);
    desk.vendor.answer(costs, {
      '': lastPage(
        anthropicDay(before, anthropicCost('150.25', model)),
        anthropicDay(yesterday, anthropicCost('200', model)),
      ),
    });
    const later = await fetching();
    expect(later.stdout).toContain(`2 figures from ${before} to ${yesterday}; 2 are new or changed.`);
    expect(later.stdout).toContain('2 days of providers: 3 models reconciled, 0 drifted.');
    const figures = await desk.gate.database.pool.query(
      `SELECT model, version, cost_nanousd FROM billed_figures WHERE provider = 'claude' AND day = $1 ORDER BY 1, 2`,
      [yesterday],
    );
    expect(figures.rows).toEqual([
      { model, version: 1, cost_nanousd: 3_000_000_000n },
      { model, version: 2, cost_nanousd: 2_000_000_000n },
      { model: 'web_search', version: 1, cost_nanousd: 120_000_000n },
      { model: 'web_search', version: 2, cost_nanousd: 0n },
    ]);
  });

  test('that tells the drift is alerted by audit entries, the log, a metric, and the exit code of check', async () => {
    const { rows } = await desk.gate.database.pool.query<{ target: string }>(
      `SELECT target FROM audit_entries WHERE action = 'reconciliation.drifted' AND target LIKE 'claude %'`,
    );
    expect(rows).toEqual([{ target: `claude ${yesterday}` }]);
    expect(await desk.gate.settledLog()).toContain('bills differ from the ledger by more than is tolerated');
    const metrics = await fetch(`${desk.gate.url}/metrics`, {
      headers: { authorization: `Bearer ${desk.gate.adminKey}` },
    });
    expect(await metrics.text()).toMatch(/^reconciled_days_total\{state="drifted"\} [1-9]/m);
    expect(await desk.reconcile(['check', '--provider', 'claude'])).toMatchObject({ code: 0 });
    const strict = await desk.reconcile(['check', '--provider', 'claude', '--tolerance-percent', '0.1']);
    expect(strict.code).toBe(1);
    expect(strict.stdout).toMatch(/drifted +\$1\.5025 +\$1\.50 +\+\$0\.0025 +\+0\.16%/);
    expect((await desk.reconcile(['check', '--provider', 'claude', '--tolerance-usd', '0.0025'])).code).toBe(0);
    expect((await desk.reconcile(['check', '--provider', 'claude', '--tolerance-usd', '0.002'])).code).toBe(1);
    const json = await desk.reconcile(['check', '--provider', 'claude', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ summary: { days: 2, drifted: 0 } });
  });

  test.each<[string, () => void, RegExp, number]>([
    ['refuses the key', () => desk.vendor.refuse({ status: 401 }), /Anthropic refused the key \(401\)/, 3],
    [
      'asks to wait for an hour',
      () => desk.vendor.refuse({ status: 429, retryAfter: '3600' }),
      /asks to wait 3600 s: try again then/,
      1,
    ],
    ['does not know the way', () => desk.vendor.refuse({ status: 404 }), /answered with status 404/, 1],
    ['redirects', () => desk.vendor.refuse({ status: 302 }), /answered with status 302/, 1],
    [
      'stays busy',
      () => desk.vendor.refuse(...Array.from({ length: 6 }, () => ({ status: 503, retryAfter: '0' }))),
      /answered with status 503/,
      1,
    ],
    [
      'never ends',
      () => desk.vendor.answer(costs, { '': pageBefore('x'), x: pageBefore('x') }),
      /the vendor's pages do not end/,
      1,
    ],
    [
      'claims a gigabyte',
      () =>
        desk.vendor.answer(costs, {
          '': (response) => response.writeHead(200, { 'content-length': 2 ** 30 }).write('{'),
        }),
      /the answer is larger than 67108864 bytes/,
      1,
    ],
    [
      'breaks off',
      () =>
        desk.vendor.answer(costs, {
          '': (response) => {
            response.writeHead(200, { 'content-length': 100 }).write('{"data":');
            setTimeout(() => response.destroy(), 20);
          },
        }),
      /the answer broke off/,
      1,
    ],
    [
      'answers half a document',
      () => desk.vendor.answer(costs, { '': (response) => void response.end('{"data":[') }),
      /page 1: this is not a whole JSON document/,
      1,
    ],
    [
      'answers with a bad second page',
      () =>
        desk.vendor.answer(costs, {
          '': pageBefore('x', anthropicDay(yesterday, anthropicCost('900', model))),
          x: lastPage(anthropicDay(before, anthropicCost('-1', model))),
        }),
      /cost_report, page 2: data\[0\]\.results\[0\]\.amount: "-1" is negative/,
      1,
    ],
  ])('that %s leaves everything as it was', async (_what, arrange, message, code) => {
    const was = await desk.stored();
    arrange();
    const run = await fetching();
    expect(run).toMatchObject({ code, stdout: '' });
    expect(run.stderr).toMatch(message);
    expect(run.stderr).not.toContain(adminKey);
    expect(await desk.stored()).toEqual(was);
    desk.vendor.refuse();
    desk.vendor.answer(costs, {});
  });

  test('is not asked with a key from the command line, without one, or over a network in the clear', async () => {
    const base = ['import', 'anthropic', '--provider', 'claude', '--base-url'];
    expect(await desk.reconcile([...base, desk.vendor.url])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('set ANTHROPIC_ADMIN_KEY'),
    });
    expect(await desk.reconcile([...base, desk.vendor.url, '--key', adminKey])).toMatchObject({ code: 2 });
    expect(
      await desk.reconcile([...base, 'http://admin.example.com'], { ANTHROPIC_ADMIN_KEY: adminKey }),
    ).toMatchObject({
      code: 2,
    });
    expect(await desk.reconcile([...base, desk.vendor.url, '--key-file', 'none'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot be read'),
    });
    expect(desk.vendor.asked).toEqual([]);
    writeFileSync(join(desk.folder, 'admin.key'), `${adminKey}\n`);
    await desk.reconcile([...base, desk.vendor.url, '--key-file', 'admin.key']);
    expect(desk.vendor.asked[0]?.headers['x-api-key']).toBe(adminKey);
  });
});
