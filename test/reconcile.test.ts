import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { pastDay, writePastAttempt } from './support/ledger-rows.ts';
import { startVendorAdminApi, type VendorAdminApi } from './support/vendor-admin-api.ts';

/** Bills of providers come in by the CLI, from a vendor's admin API or from files, and are matched with the ledger of a real gate. */

let gate: TestGate;
let vendor: VendorAdminApi;
let projectId: string;
let folder: string;
const adminKey = 'sk-ant-admin-4711-never-told';

beforeAll(async () => {
  gate = await startGate();
  vendor = await startVendorAdminApi();
  folder = mkdtempSync(join(tmpdir(), 'portcullis-bills-'));
  ({
    principal: { projectId },
  } = await gate.api<{ principal: { projectId: string } }>('SystemService/GetSelf'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await vendor.stop();
  await gate.stop();
});
beforeEach(() => {
  vendor.asked.length = 0;
});

function cli(args: readonly string[], environment: Record<string, string> = {}) {
  return runCommand(['reconcile', ...args], {
    cwd: folder,
    environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey, ...environment },
  });
}

const [yesterday, before, older] = [pastDay(1), pastDay(2), pastDay(3)];
const attempt = (row: Omit<Parameters<typeof writePastAttempt>[1], 'projectId'>) =>
  writePastAttempt(gate.database, { projectId, ...row });

interface Match {
  readonly provider: string;
  readonly day: string;
  readonly model: string;
  readonly state: string;
  readonly billedNanousd?: string;
  readonly bookedNanousd: string;
  readonly unexplainedNanousd: string;
}
const matches = async (provider: string) =>
  (await gate.api<{ days: Match[] }>('ReconciliationService/ListReconciledDays', { provider })).days;
const stored = async () => {
  const { rows } = await gate.database.pool.query<{ imports: number; figures: number }>(
    'SELECT (SELECT count(*)::int FROM bill_imports) AS imports, (SELECT count(*)::int FROM billed_figures) AS figures',
  );
  return rows[0];
};

const anthropicDay = (day: string, ...results: object[]) => ({
  starting_at: `${day}T00:00:00Z`,
  ending_at: `${new Date(Date.parse(day) + 86_400_000).toISOString().slice(0, 10)}T00:00:00Z`,
  results,
});
const anthropicCost = (cents: string, model: string | null, more: object = {}) => ({
  amount: cents,
  currency: 'USD',
  cost_type: model === null ? 'web_search' : 'tokens',
  description: 'as billed',
  model,
  workspace_id: null,
  ...more,
});
const anthropicUsage = (input: number, output: number, model: string) => ({
  uncached_input_tokens: input,
  cache_creation: { ephemeral_1h_input_tokens: 0, ephemeral_5m_input_tokens: 0 },
  cache_read_input_tokens: 0,
  output_tokens: output,
  model,
  workspace_id: null,
});
const costs = '/v1/organizations/cost_report';
const usage = '/v1/organizations/usage_report/messages';
const last = (...data: object[]) => ({ data, has_more: false, next_page: null });
const more = (next_page: string, ...data: object[]) => ({ data, has_more: true, next_page });

describe("Anthropic's admin API", () => {
  const model = 'claude-haiku-4-5-20251001';
  const fetching = (...args: string[]) =>
    cli(['import', 'anthropic', '--provider', 'claude', '--base-url', vendor.url, '--since', older, ...args], {
      ANTHROPIC_ADMIN_KEY: adminKey,
    });

  test('is read page by page, waits as it is told, and its days are matched with the ledger', async () => {
    await attempt({ at: `${before}T10:00:00Z`, cost: 1_000_000_000n });
    await attempt({ at: `${before}T11:00:00Z`, cost: 500_000_000n, provenance: 'estimated' });
    await attempt({ at: `${yesterday}T10:00:00Z`, cost: 2_000_000_000n });
    vendor.answer(costs, {
      '': more('page_two', anthropicDay(before, anthropicCost('100.25', model), anthropicCost('50', model))),
      page_two: last(anthropicDay(yesterday, anthropicCost('300', model), anthropicCost('12', null))),
    });
    vendor.answer(usage, { '': last(anthropicDay(before, anthropicUsage(150, 50, model))) });
    vendor.refuse({ status: 429, retryAfter: '0' }, { status: 529, retryAfter: '0' });
    const run = await fetching();
    expect(run).toMatchObject({ code: 0 });
    expect(run.stderr).toContain('Anthropic is busy (429): waiting 0 s.');
    expect(run.stdout).toContain('2 days of providers: 1 models reconciled, 2 drifted.');
    // $4.6225 billed: 1.5025 and 3.12; booked 3.50.
    expect(run.stdout).toContain(
      'Billed $4.6225, booked $3.50; unexplained $1.1225, which is in no total of attempts.',
    );
    expect(
      (await matches('claude')).map((row) => [
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
    expect(vendor.asked.map(({ path, query }) => [path, query.get('page')])).toEqual([
      [costs, null],
      [costs, null],
      [costs, null],
      [costs, 'page_two'],
      [usage, null],
    ]);
    const [first] = vendor.asked;
    expect(first?.headers).toMatchObject({ 'x-api-key': adminKey, 'anthropic-version': '2023-06-01' });
    expect([...(first?.query ?? [])]).toEqual([
      ['starting_at', `${older}T00:00:00Z`],
      ['ending_at', `${pastDay(0)}T00:00:00Z`],
      ['bucket_width', '1d'],
      ['limit', '31'],
      ['group_by[]', 'description'],
    ]);
    expect(run.stdout + run.stderr + gate.output + gate.log).not.toContain(adminKey);
  });

  test('asked again changes nothing, and what it bills later replaces what it billed first', async () => {
    const again = await fetching();
    expect(again.stdout).toMatch(/^Known already as imp_\w+: nothing was imported\./);
    vendor.answer(costs, {
      '': last(
        anthropicDay(before, anthropicCost('150.25', model)),
        anthropicDay(yesterday, anthropicCost('200', model)),
      ),
    });
    const later = await fetching();
    expect(later.stdout).toContain(`2 figures from ${before} to ${yesterday}; 2 are new or changed.`);
    expect(later.stdout).toContain('2 days of providers: 3 models reconciled, 0 drifted.');
    const figures = await gate.database.pool.query(
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
    const { rows } = await gate.database.pool.query<{ target: string }>(
      `SELECT target FROM audit_entries WHERE action = 'reconciliation.drifted' AND target LIKE 'claude %'`,
    );
    expect(rows).toEqual([{ target: `claude ${yesterday}` }]);
    expect(gate.log).toContain('bills differ from the ledger by more than is tolerated');
    const metrics = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
    expect(await metrics.text()).toMatch(/^reconciled_days_total\{state="drifted"\} [1-9]/m);
    expect(await cli(['check', '--provider', 'claude'])).toMatchObject({ code: 0 });
    const strict = await cli(['check', '--provider', 'claude', '--tolerance-percent', '0.1']);
    expect(strict.code).toBe(1);
    expect(strict.stdout).toMatch(/drifted +\$1\.5025 +\$1\.50 +\+\$0\.0025 +\+0\.16%/);
    expect((await cli(['check', '--provider', 'claude', '--tolerance-usd', '0.0025'])).code).toBe(0);
    expect((await cli(['check', '--provider', 'claude', '--tolerance-usd', '0.002'])).code).toBe(1);
    const json = await cli(['check', '--provider', 'claude', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ summary: { days: 2, drifted: 0 } });
  });

  test.each<[string, () => void, RegExp, number]>([
    ['refuses the key', () => vendor.refuse({ status: 401 }), /Anthropic refused the key \(401\)/, 3],
    [
      'asks to wait for an hour',
      () => vendor.refuse({ status: 429, retryAfter: '3600' }),
      /asks to wait 3600 s: try again then/,
      1,
    ],
    ['does not know the way', () => vendor.refuse({ status: 404 }), /answered with status 404/, 1],
    ['redirects', () => vendor.refuse({ status: 302 }), /answered with status 302/, 1],
    [
      'stays busy',
      () => vendor.refuse(...Array.from({ length: 6 }, () => ({ status: 503, retryAfter: '0' }))),
      /answered with status 503/,
      1,
    ],
    ['never ends', () => vendor.answer(costs, { '': more('x'), x: more('x') }), /the vendor's pages do not end/, 1],
    [
      'claims a gigabyte',
      () =>
        vendor.answer(costs, { '': (response) => response.writeHead(200, { 'content-length': 2 ** 30 }).write('{') }),
      /the answer is larger than 67108864 bytes/,
      1,
    ],
    [
      'breaks off',
      () =>
        vendor.answer(costs, {
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
      () => vendor.answer(costs, { '': (response) => void response.end('{"data":[') }),
      /page 1: this is not a whole JSON document/,
      1,
    ],
    [
      'answers with a bad second page',
      () =>
        vendor.answer(costs, {
          '': more('x', anthropicDay(yesterday, anthropicCost('900', model))),
          x: last(anthropicDay(before, anthropicCost('-1', model))),
        }),
      /cost_report, page 2: data\[0\]\.results\[0\]\.amount: "-1" is negative/,
      1,
    ],
  ])('that %s leaves everything as it was', async (_what, arrange, message, code) => {
    const was = await stored();
    arrange();
    const run = await fetching();
    expect(run).toMatchObject({ code, stdout: '' });
    expect(run.stderr).toMatch(message);
    expect(run.stderr).not.toContain(adminKey);
    expect(await stored()).toEqual(was);
    vendor.refuse();
    vendor.answer(costs, {});
  });

  test('is not asked with a key from the command line, without one, or over a network in the clear', async () => {
    const base = ['import', 'anthropic', '--provider', 'claude', '--base-url'];
    expect(await cli([...base, vendor.url])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('set ANTHROPIC_ADMIN_KEY'),
    });
    expect(await cli([...base, vendor.url, '--key', adminKey])).toMatchObject({ code: 2 });
    expect(await cli([...base, 'http://admin.example.com'], { ANTHROPIC_ADMIN_KEY: adminKey })).toMatchObject({
      code: 2,
    });
    expect(await cli([...base, vendor.url, '--key-file', 'none'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot be read'),
    });
    expect(vendor.asked).toEqual([]);
    writeFileSync(join(folder, 'admin.key'), `${adminKey}\n`);
    await cli([...base, vendor.url, '--key-file', 'admin.key']);
    expect(vendor.asked[0]?.headers['x-api-key']).toBe(adminKey);
  });
});

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
    await attempt({ provider: 'gpt', model: 'gpt-4o-mini', at: `${before}T10:00:00Z`, cost: 300_000_000n });
    vendor.answer('/v1/organization/costs', {
      '': last(
        bucket(
          before,
          cost(0.1, 'gpt-4o-mini-2024-07-18, input'),
          cost(0.2, 'gpt-4o-mini-2024-07-18, output'),
          cost(9, 'gpt-4o, input', 'proj_2'),
        ),
      ),
    });
    vendor.answer('/v1/organization/usage/completions', {
      '': last(bucket(before, tokens('completions', 'gpt-4o-mini-2024-07-18', 60, 40))),
    });
    vendor.answer('/v1/organization/usage/embeddings', {
      '': last(bucket(before, tokens('embeddings', 'text-embedding-3-small', 8))),
    });
    const run = await cli(
      [
        'import',
        'openai',
        '--provider',
        'gpt',
        '--account',
        'proj_1',
        '--base-url',
        vendor.url,
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
    expect(await matches('gpt')).toMatchObject([
      { model: 'text-embedding-3-small', state: 'MATCH_STATE_DRIFTED', bookedModels: [], billedTokens: '8' },
      {
        model: 'gpt-4o-mini',
        state: 'MATCH_STATE_RECONCILED',
        billedModels: ['gpt-4o-mini-2024-07-18'],
        billedTokens: '100',
        bookedTokens: '100',
      },
    ]);
    expect(vendor.asked.map(({ path }) => path)).toEqual([
      '/v1/organization/costs',
      '/v1/organization/usage/completions',
      '/v1/organization/usage/embeddings',
    ]);
    expect(vendor.asked[0]?.headers.authorization).toBe(`Bearer ${adminKey}`);
    expect(vendor.asked[0]?.query.getAll('group_by[]')).toEqual(['line_item', 'project_id']);
  });
});

describe('files', () => {
  const save = (name: string, content: object | string) =>
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));

  test('of saved pages are one import, to the last page, without the days that are not over', async () => {
    save('one.json', more('p2', anthropicDay(before, anthropicCost('1', 'm'))));
    save(
      'two.json',
      last(anthropicDay(yesterday, anthropicCost('1', 'm')), anthropicDay(pastDay(0), anthropicCost('1', 'm'))),
    );
    const lacking = await cli(['import', 'anthropic', 'one.json', '--provider', 'saved']);
    expect(lacking).toMatchObject({ code: 1, stderr: 'one.json says that more pages follow: give them too.\n' });
    const run = await cli(['import', 'anthropic', 'one.json', 'two.json', '--provider', 'saved']);
    expect(run.stderr).toContain(`Left out, since they are not over (UTC): ${pastDay(0)}.`);
    expect(run.stdout).toMatch(
      new RegExp(`^Imported imp_\\w+: 2 figures from ${before} to ${yesterday}; 2 are new or changed\\.`),
    );
    expect((await cli(['imports'])).stdout).toMatch(new RegExp(`anthropic +saved +${before} +${yesterday} +2 +2`));
  });

  test('of CSV give unexplained spend to the project that is named, which sees it apart from its totals', async () => {
    const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'payer' });
    await attempt({ provider: 'csv', model: 'small', at: `${before}T00:00:00Z`, cost: 400_000_000n });
    save(
      'bill.csv',
      `model,date,amount,input_tokens,output_tokens\nsmall,${before},0.5,,\n"=HYPERLINK(1)",${before},2,,\n`,
    );
    const run = await cli(['import', 'csv', 'bill.csv', '--provider', 'csv', '--project', 'payer']);
    expect(run.code).toBe(0);
    const show = await cli(['show', '--provider', 'csv']);
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
    const usageOf = (args: string[]) =>
      runCommand(['usage', ...args], { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey } });
    const unexplained = await usageOf(['unexplained', '--project', 'payer']);
    expect(unexplained.stderr).toContain('$2.10 in all, which is in no total of attempts.');
    expect((await usageOf(['unexplained', '--provider', 'csv'])).stderr).toContain(
      'No bill that is known goes beyond the ledger.',
    );
    const totals = await gate.api<{ rows: { totals: { costNanousd: string } }[] }>('AnalyticsService/GetUsage', {
      groupBy: 'USAGE_GROUP_PROVIDER',
      filter: { provider: 'csv' },
    });
    expect(totals.rows.map((row) => row.totals.costNanousd)).toEqual(['400000000']);
    const payer = await gate.api<{ rows?: object[] }>('AnalyticsService/GetUsage', {
      groupBy: 'USAGE_GROUP_PROVIDER',
      projectId: project.id,
    });
    expect(payer.rows ?? []).toEqual([]);
  });

  test.each<[string, string | Buffer, RegExp]>([
    ['cut off', '{"data":[', /bad\.json: this is not a whole JSON document/],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0xfe]), /bad\.json is not UTF-8 text/],
    [
      'of a wrong currency',
      JSON.stringify(last(anthropicDay('2026-11-01', anthropicCost('1', 'm', { currency: 'GBP' })))),
      /data\[0\]\.results\[0\] is in GBP/,
    ],
  ])('that are %s leave everything as it was', async (_what, content, message) => {
    const was = await stored();
    writeFileSync(join(folder, 'bad.json'), content);
    const run = await cli(['import', 'anthropic', 'bad.json', '--provider', 'saved']);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(message);
    expect(await stored()).toEqual(was);
  });

  test('that are not there, too large, or tell nothing of the days asked for are said so', async () => {
    expect((await cli(['import', 'csv', 'none.csv'])).stderr).toBe('none.csv cannot be read (ENOENT).\n');
    const { ftruncateSync, openSync, closeSync } = await import('node:fs');
    const file = openSync(join(folder, 'huge.json'), 'w');
    ftruncateSync(file, 2 ** 30);
    closeSync(file);
    expect((await cli(['import', 'openai', 'huge.json', '--provider', 'p'])).stderr).toContain(
      'huge.json is larger than 67108864 bytes',
    );
    save('old.csv', `provider,model,date,amount\np,m,${older},1\n`);
    const run = await cli(['import', 'csv', 'old.csv', '--since', yesterday]);
    expect(run).toMatchObject({
      code: 1,
      stderr: 'Nothing was imported: no line is of the days that were asked for and are over.\n',
    });
  });
});

test('bills are for admins: other keys import, match and list nothing', async () => {
  const { secret } = await gate.agent('curious', { scopes: ['telemetry:write', 'telemetry:read'] });
  for (const method of ['ImportBill', 'MatchBills', 'ListReconciledDays', 'ListBillImports'])
    await expect(gate.api(`ReconciliationService/${method}`, {}, secret)).rejects.toThrow('403');
  const own = await gate.api<{ days?: object[] }>('ReconciliationService/ListProjectDays', { provider: 'csv' }, secret);
  expect(own.days).toMatchObject([{ model: 'small', unexplainedNanousd: '0', reconciled: false }]);
  expect(JSON.stringify(own)).not.toContain('billed');
});
