import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  adminKey,
  anthropicCost,
  anthropicDay,
  type BillDesk,
  lastPage,
  openBillDesk,
  pageBefore,
} from './support/bill-desk.ts';
import { pastDay } from './support/ledger-rows.ts';

/** Bills come in from OpenAI's admin API and from files, and are matched with the ledger of a real gate. */

let desk: BillDesk;
beforeAll(async () => {
  desk = await openBillDesk();
});
afterAll(() => desk.stop());
beforeEach(() => {
  desk.vendor.asked.length = 0;
});

const [yesterday, before, older] = [pastDay(1), pastDay(2), pastDay(3)];

describe("OpenAI's admin API", () => {
  test('is read for costs, completions and embeddings, of one project where that is asked for', async () => {
    const bucket = (day: string, ...results: object[]) => ({
      object: 'bucket',
      start_time: Date.parse(day) / 1000,
      end_time: Date.parse(day) / 1000 + 86_400,
      results,
    });
    const cost = (value: number, line_item: string, project_id = 'proj_1') => ({
      object: 'organization.costs.result',
      amount: { value, currency: 'usd' },
      line_item,
      project_id,
    });
    const tokens = (kind: string, model: string, input_tokens: number, output_tokens?: number) => ({
      object: `organization.usage.${kind}.result`,
      input_tokens,
      output_tokens,
      num_model_requests: 1,
      model,
      project_id: 'proj_1',
    });
    await desk.attempt({ provider: 'gpt', model: 'gpt-4o-mini', at: `${before}T10:00:00Z`, cost: 300_000_000n });
    desk.vendor.answer('/v1/organization/costs', {
      '': lastPage(
        bucket(
          before,
          cost(0.1, 'gpt-4o-mini-2024-07-18, input'),
          cost(0.2, 'gpt-4o-mini-2024-07-18, output'),
          cost(9, 'gpt-4o, input', 'proj_2'),
        ),
      ),
    });
    desk.vendor.answer('/v1/organization/usage/completions', {
      '': lastPage(bucket(before, tokens('completions', 'gpt-4o-mini-2024-07-18', 60, 40))),
    });
    desk.vendor.answer('/v1/organization/usage/embeddings', {
      '': lastPage(bucket(before, tokens('embeddings', 'text-embedding-3-small', 8))),
    });
    const run = await desk.reconcile(
      [
        'import',
        'openai',
        '--provider',
        'gpt',
        '--account',
        'proj_1',
        '--base-url',
        desk.vendor.url,
        '--since',
        older,
        '--key-env',
        'MY_KEY',
        '--json',
      ],
      { MY_KEY: adminKey },
    );
    expect(run.code).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({
      billImport: { source: 'BILL_SOURCE_OPENAI', figures: 2, changed: 2 },
      summary: { days: 1, reconciled: 1, drifted: 1, billedNanousd: '300000000' },
    });
    expect(await desk.matches('gpt')).toMatchObject([
      { model: 'text-embedding-3-small', state: 'MATCH_STATE_DRIFTED', bookedModels: [], billedTokens: '8' },
      {
        model: 'gpt-4o-mini',
        state: 'MATCH_STATE_RECONCILED',
        billedModels: ['gpt-4o-mini-2024-07-18'],
        billedTokens: '100',
        bookedTokens: '100',
      },
    ]);
    expect(desk.vendor.asked.map(({ path }) => path)).toEqual([
      '/v1/organization/costs',
      '/v1/organization/usage/completions',
      '/v1/organization/usage/embeddings',
    ]);
    expect(desk.vendor.asked[0]?.headers.authorization).toBe(`Bearer ${adminKey}`);
    expect(desk.vendor.asked[0]?.query.getAll('group_by[]')).toEqual(['line_item', 'project_id']);
  });

  test("is asked as OpenAI's own client asks", async () => {
    await desk.reconcile(
      [
        'import',
        'openai',
        '--provider',
        'gpt',
        '--account',
        'proj_1',
        '--base-url',
        desk.vendor.url,
        '--since',
        before,
      ],
      { OPENAI_ADMIN_KEY: adminKey },
    );
    const ours = desk.vendor.asked.splice(0);
    const { usage } = new OpenAI({ adminAPIKey: adminKey, baseURL: `${desk.vendor.url}/v1` }).admin.organization;
    const span = {
      start_time: Date.parse(before) / 1000,
      end_time: Date.parse(pastDay(0)) / 1000,
      bucket_width: '1d',
      limit: 31,
    } as const;
    await usage.costs({ ...span, project_ids: ['proj_1'], group_by: ['line_item', 'project_id'] });
    await usage.completions({ ...span, project_ids: ['proj_1'], group_by: ['model', 'project_id'] });
    await usage.embeddings({ ...span, project_ids: ['proj_1'], group_by: ['model', 'project_id'] });
    const asked = ({ path, query, headers }: (typeof ours)[number]) => {
      query.sort();
      return [path, query.toString(), headers.authorization];
    };
    expect(ours.map(asked)).toEqual(desk.vendor.asked.map(asked));
  });
});

describe('files', () => {
  test('of saved pages are one import, to the last page, without the days that are not over', async () => {
    desk.save('one.json', pageBefore('p2', anthropicDay(before, anthropicCost('1', 'm'))));
    desk.save(
      'two.json',
      lastPage(anthropicDay(yesterday, anthropicCost('1', 'm')), anthropicDay(pastDay(0), anthropicCost('1', 'm'))),
    );
    const lacking = await desk.reconcile(['import', 'anthropic', 'one.json', '--provider', 'saved']);
    expect(lacking).toMatchObject({ code: 1, stderr: 'one.json says that more pages follow: give them too.\n' });
    const importing = ['import', 'anthropic', 'one.json', 'two.json', '--provider', 'saved'];
    const unknown = await desk.reconcile(importing);
    expect(unknown).toMatchObject({ code: 1, stdout: '' });
    expect(unknown.stderr).toContain('There is no provider "saved" in the configuration');
    const run = await desk.reconcile([...importing, '--force']);
    expect(run.stderr).toContain(`Left out, since they are not over (UTC): ${pastDay(0)}.`);
    expect(run.stdout).toMatch(
      new RegExp(`^Imported imp_\\w+: 2 figures from ${before} to ${yesterday}; 2 are new or changed\\.`),
    );
    expect((await desk.reconcile(['imports'])).stdout).toMatch(
      new RegExp(`anthropic +saved +${before} +${yesterday} +2 +2`),
    );
  });

  test('of CSV give unexplained spend to the project that is named, which sees it apart from its totals', async () => {
    const { project } = await desk.gate.api<{ project: { id: string } }>('ProjectService/CreateProject', {
      name: 'payer',
    });
    await desk.attempt({ provider: 'csv', model: 'small', at: `${before}T00:00:00Z`, cost: 400_000_000n });
    desk.save(
      'bill.csv',
      `model,date,amount,input_tokens,output_tokens\nsmall,${before},0.5,,\n"=HYPERLINK(1)",${before},2,,\n`,
    );
    const run = await desk.reconcile(['import', 'csv', 'bill.csv', '--provider', 'csv', '--project', 'payer']);
    expect(run.code).toBe(0);
    const show = await desk.reconcile(['show', '--provider', 'csv']);
    const table = show.stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(table[0]).toEqual([
      'DAY',
      'PROVIDER',
      'MODEL',
      'STATE',
      'BILLED',
      'BOOKED',
      'DRIFT',
      'PERCENT',
      'UNEXPLAINED',
      'PROJECT',
      'NOTE',
    ]);
    expect(table[1]).toEqual([
      before,
      'csv',
      'small',
      'drifted',
      '$0.50',
      '$0.40',
      '+$0.10',
      '+20.00%',
      '$0.10',
      project.id,
    ]);
    expect(table[2]).toEqual([
      before,
      'csv',
      '=HYPERLINK(1)',
      'drifted',
      '$2.00',
      '$0.00',
      '+$2.00',
      '+100.00%',
      '$2.00',
      project.id,
      'no attempts',
    ]);
    const unexplained = await desk.usage(['unexplained', '--project', 'payer']);
    expect(unexplained.stderr).toContain('$2.10 in all, which is in no total of attempts.');
    expect((await desk.usage(['unexplained', '--provider', 'csv'])).stderr).toContain(
      'No bill that is known goes beyond the ledger.',
    );
    const totals = await desk.gate.api<{ rows: { totals: { costNanousd: string } }[] }>('AnalyticsService/GetUsage', {
      groupBy: 'USAGE_GROUP_PROVIDER',
      filter: { provider: 'csv' },
    });
    expect(totals.rows.map((row) => row.totals.costNanousd)).toEqual(['400000000']);
    const payer = await desk.gate.api<{ rows?: object[] }>('AnalyticsService/GetUsage', {
      groupBy: 'USAGE_GROUP_PROVIDER',
      projectId: project.id,
    });
    expect(payer.rows ?? []).toEqual([]);
  });

  test('whose fees stand apart from models are matched with what the ledger has under models', async () => {
    await desk.attempt({ provider: 'fees', model: 'm', at: `${before}T00:00:00Z`, cost: 20_000_000_000n });
    desk.save(
      'fees.csv',
      `model,date,amount,input_tokens,output_tokens\nm,${before},10,100,0\nweb_search,${before},10,,\n`,
    );
    const run = await desk.reconcile(['import', 'csv', 'fees.csv', '--provider', 'fees']);
    expect(run.stdout).toContain('Billed $20.00, booked $20.00; unexplained $0.00');
    const show = await desk.reconcile(['show', '--provider', 'fees']);
    expect(show.stdout).toMatch(/web_search +reconciled +\$10\.00 +\$10\.00 +.* a fee, booked under models/);
  });

  test.each<[string, string | Buffer, RegExp]>([
    ['cut off', '{"data":[', /bad\.json: this is not a whole JSON document/],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0xfe]), /bad\.json is not UTF-8 text/],
    [
      'of a wrong currency',
      JSON.stringify(lastPage(anthropicDay('2026-11-01', anthropicCost('1', 'm', { currency: 'GBP' })))),
      /data\[0\]\.results\[0\] is in GBP/,
    ],
  ])('that are %s leave everything as it was', async (_what, content, message) => {
    const was = await desk.stored();
    writeFileSync(join(desk.folder, 'bad.json'), content);
    const run = await desk.reconcile(['import', 'anthropic', 'bad.json', '--provider', 'saved']);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(message);
    expect(await desk.stored()).toEqual(was);
  });

  test('that are not there, too large, or tell nothing of the days asked for are said so', async () => {
    expect((await desk.reconcile(['import', 'csv', 'none.csv'])).stderr).toBe('none.csv cannot be read (ENOENT).\n');
    const file = openSync(join(desk.folder, 'huge.json'), 'w');
    ftruncateSync(file, 2 ** 30);
    closeSync(file);
    expect((await desk.reconcile(['import', 'openai', 'huge.json', '--provider', 'p'])).stderr).toContain(
      'huge.json is larger than 67108864 bytes',
    );
    desk.save('old.csv', `provider,model,date,amount\np,m,${older},1\n`);
    const run = await desk.reconcile(['import', 'csv', 'old.csv', '--since', yesterday]);
    expect(run).toMatchObject({
      code: 1,
      stderr: 'Nothing was imported: no line is of the days that were asked for and are over.\n',
    });
  });
});

test('bills are for admins: other keys import, match and list nothing', async () => {
  const { secret } = await desk.gate.agent('curious', { scopes: ['telemetry:write', 'telemetry:read'] });
  for (const method of ['ImportBill', 'MatchBills', 'ListReconciledDays', 'ListBillImports'])
    await expect(desk.gate.api(`ReconciliationService/${method}`, {}, secret)).rejects.toThrow('403');
  const own = await desk.gate.api<{ days?: object[] }>(
    'ReconciliationService/ListProjectDays',
    { provider: 'csv' },
    secret,
  );
  expect(own.days).toMatchObject([{ model: 'small', unexplainedNanousd: '0', reconciled: false }]);
  expect(JSON.stringify(own)).not.toContain('billed');
});
