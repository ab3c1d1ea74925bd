import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CsvReader } from '../server/src/reconciliation/csv-reader.ts';
import { runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { pastDay, writePastAttempt } from './support/ledger-rows.ts';

/** The ledger leaves as CSV, and what agents report of calls that did not pass the gate is told apart. */

let gate: TestGate;
let projectId: string;
let folder: string;
const [yesterday, before] = [pastDay(1), pastDay(2)];

beforeAll(async () => {
  gate = await startGate();
  folder = mkdtempSync(join(tmpdir(), 'portcullis-export-'));
  ({
    principal: { projectId },
  } = await gate.api<{ principal: { projectId: string } }>('SystemService/GetSelf'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await gate.stop();
});

function cli(args: readonly string[], key = gate.adminKey, isTTY = false) {
  return runCommand(args, { cwd: folder, environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: key }, isTTY });
}

const attempt = (row: Omit<Parameters<typeof writePastAttempt>[1], 'projectId'>) =>
  writePastAttempt(gate.database, { projectId, ...row });

/** The records of a CSV text by its header. */
function table(text: string): Record<string, string>[] {
  const reader = new CsvReader('export');
  const records = [...reader.push(text)];
  expect(reader.end()).toBeNull();
  const [header, ...rows] = records.map(({ cells }) => cells);
  return rows.map((cells) => {
    expect(cells).toHaveLength(header!.length);
    return Object.fromEntries(header!.map((name, index) => [name, cells[index]!]));
  });
}

describe('usage export', () => {
  let estimated: string;

  beforeAll(async () => {
    await attempt({
      at: `${before}T10:00:00.250Z`,
      cost: 1_234_567_891n,
      workflow: '=cmd|"/c calc"!A1',
      agentId: 'agt_1',
    });
    estimated = await attempt({ at: `${before}T11:00:00Z`, cost: 1_000n, provenance: 'estimated', model: '@mid,dle' });
    await attempt({ at: `${before}T11:00:00Z`, cost: -999n, corrects: estimated, model: '@mid,dle', tokens: -1 });
    await attempt({ at: `${yesterday}T00:00:00Z`, cost: 0n, tokens: 0, outcome: 'budget' });
    await attempt({ at: `${yesterday}T00:00:00Z`, cost: 0n, tokens: 0, provider: null, outcome: 'refused' });
    await attempt({ at: `${yesterday}T01:00:00Z`, cost: 5_000_000_000n });
    writeFileSync(
      join(folder, 'bill.csv'),
      `provider,model,date,amount\nclaude,claude-haiku-4-5,${before},1.24\nclaude,claude-haiku-4-5,${yesterday},9\n`,
    );
    const { code, stderr } = await cli(['reconcile', 'import', 'csv', 'bill.csv']);
    if (code !== 0) throw new Error(stderr);
  });

  test('writes a row for each row of the ledger, exact and harmless to a spreadsheet', async () => {
    const { code, stdout, stderr } = await cli(['usage', 'export']);
    expect(code).toBe(0);
    const rows = table(stdout);
    expect(rows.map((row) => [row['start_time'], row['cost_usd'], row['provenance'], row['corrects']])).toEqual([
      [`${yesterday}T01:00:00.000Z`, '5', 'measured', ''],
      [`${yesterday}T00:00:00.000Z`, '0', 'measured', ''],
      [`${yesterday}T00:00:00.000Z`, '0', 'measured', ''],
      [`${before}T11:00:00.000Z`, '-0.000000999', 'measured', estimated],
      [`${before}T11:00:00.000Z`, '0.000001', 'estimated', ''],
      // The bill of that day agrees.
      [`${before}T10:00:00.250Z`, '1.234567891', 'reconciled', ''],
    ]);
    expect(rows.at(-1)).toMatchObject({
      workflow: `'=cmd|"/c calc"!A1`,
      agent_id: 'agt_1',
      model_served: 'claude-haiku-4-5',
      input_tokens: '100',
    });
    expect(rows.find((row) => row['corrects'] !== '')).toMatchObject({ model_served: "'@mid,dle", input_tokens: '-1' });
    expect(stdout).toMatch(/\r\n$/);
    expect(stderr).toContain('Some spend was billed beyond these rows: `portcullis usage unexplained` lists it.');
    expect(stderr).toContain('6 rows written.');
  });

  test('writes charges in the columns of FOCUS 1.2, with what is unexplained as charges of its own', async () => {
    const { stdout } = await cli(['usage', 'export', '--format', 'focus']);
    const rows = table(stdout);
    // Every column that the specification makes mandatory, and no null where it allows none.
    const mandatory = [
      'BilledCost',
      'BillingAccountId',
      'BillingCurrency',
      'BillingPeriodEnd',
      'BillingPeriodStart',
      'ChargeCategory',
      'ChargePeriodEnd',
      'ChargePeriodStart',
      'ContractedCost',
      'EffectiveCost',
      'InvoiceIssuerName',
      'ListCost',
      'ProviderName',
      'PublisherName',
      'ServiceCategory',
      'ServiceName',
    ];
    const nullable = ['BillingAccountName', 'ChargeClass', 'ChargeDescription', 'PricingQuantity', 'PricingUnit'];
    for (const row of rows) {
      expect(Object.keys(row)).toEqual(expect.arrayContaining([...mandatory, ...nullable]));
      for (const column of mandatory) expect([column, row[column]]).not.toEqual([column, '']);
      expect([row['PricingQuantity'] === '', row['ConsumedQuantity'] === '']).toEqual(
        Array(2).fill(row['ChargeCategory'] !== 'Usage'),
      );
    }
    const month = `${yesterday.slice(0, 7)}-01T00:00:00Z`;
    // Refused attempts are no charges; the bill of yesterday goes $4 beyond the ledger, that of the day before half a cent.
    expect(rows.map((row) => [row['ChargeCategory'], row['BilledCost']])).toEqual(
      expect.arrayContaining([
        ['Usage', '5'],
        ['Usage', '1.234567891'],
        ['Usage', '0.000001'],
        ['Usage', '-0.000000999'],
        ['Adjustment', '4'],
        ['Adjustment', '0.005432109'],
      ]),
    );
    expect(rows).toHaveLength(6);
    const first = rows.find((row) => row['BilledCost'] === '1.234567891')!;
    expect(first).toMatchObject({
      BillingPeriodStart: `${before.slice(0, 7)}-01T00:00:00Z`,
      ChargePeriodStart: `${before}T10:00:00Z`,
      ChargePeriodEnd: `${before}T10:00:02Z`,
      ConsumedQuantity: '100',
      ConsumedUnit: 'Tokens',
      ProviderName: 'claude',
      ServiceCategory: 'AI and Machine Learning',
      // The same whatever account it is billed to.
      SkuId: 'claude-haiku-4-5',
      SkuPriceId: 'claude-haiku-4-5',
      SubAccountId: projectId,
      SubAccountName: 'default',
      ResourceId: 'agt_1',
    });
    expect(JSON.parse(first['Tags']!)).toEqual({
      'portcullis/agent': 'agt_1',
      'portcullis/workflow': '=cmd|"/c calc"!A1',
      'portcullis/model': 'claude-haiku-4-5',
      'portcullis/provenance': 'reconciled',
    });
    const adjustment = rows.find((row) => row['BilledCost'] === '4')!;
    expect(adjustment).toMatchObject({
      BillingPeriodStart: month,
      ChargePeriodStart: `${yesterday}T00:00:00Z`,
      ChargeFrequency: 'One-Time',
    });
    expect(JSON.parse(adjustment['Tags']!)).toEqual({
      'portcullis/model': 'claude-haiku-4-5',
      'portcullis/provenance': 'unexplained',
    });
  });

  test('a correction of a month that was invoiced is marked as one', async () => {
    const agesAgo = '2026-01-31T23:59:59Z';
    const id = await attempt({ at: agesAgo, cost: 10n });
    await attempt({ at: agesAgo, cost: -3n, corrects: id, tokens: 0 });
    const rows = table(
      (await cli(['usage', 'export', '--format', 'focus', '--since', '2026-01-31', '--until', '2026-01-31'])).stdout,
    );
    expect(rows.map((row) => [row['BilledCost'], row['ChargeClass'], row['BillingPeriodEnd']])).toEqual([
      ['-0.000000003', 'Correction', '2026-02-01T00:00:00Z'],
      ['0.00000001', '', '2026-02-01T00:00:00Z'],
    ]);
  });

  test('keeps to the days that are asked for, and to a file that appears when it is whole', async () => {
    const run = await cli(['usage', 'export', '--since', yesterday, '--until', yesterday, '--out', 'out.csv']);
    expect(run).toMatchObject({ code: 0, stdout: '' });
    const rows = table(readFileSync(join(folder, 'out.csv'), 'utf8'));
    expect(rows.map((row) => row['start_time']!.slice(0, 10))).toEqual([yesterday, yesterday, yesterday]);
    const failing = await cli(['usage', 'export', '--out', 'none/out.csv']);
    expect(failing).toMatchObject({ code: 1, stderr: expect.stringContaining('none/out.csv cannot be written') });
    const denied = await cli(['usage', 'export', '--out', 'denied.csv'], 'ptc_wrong');
    expect(denied.code).toBe(3);
    expect(existsSync(join(folder, 'denied.csv')) || existsSync(join(folder, 'denied.csv.partial'))).toBe(false);
  });

  test('shows a terminal what would steer it, and gives it to files and pipes as it is', async () => {
    const day = pastDay(7);
    const steering = '\u001b]0;owned\u0007\r\n"faked",row\u202e';
    await attempt({ at: `${day}T01:00:00Z`, cost: 1n, workflow: steering });
    const span = ['--since', day, '--until', day];
    expect(table((await cli(['usage', 'export', ...span])).stdout)).toMatchObject([{ workflow: steering }]);
    for (const format of ['csv', 'focus']) {
      const { stdout } = await cli(['usage', 'export', '--format', format, ...span], gate.adminKey, true);
      expect(stdout.replaceAll('\r\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      expect(stdout.split('\r\n')).toHaveLength(3);
    }
    const run = await cli(['usage', 'export', '--out', 'steering.csv', ...span], gate.adminKey, true);
    expect(run.code).toBe(0);
    expect(table(readFileSync(join(folder, 'steering.csv'), 'utf8'))).toMatchObject([{ workflow: steering }]);
  });

  test('goes through many pages, each row once', async () => {
    const day = pastDay(5);
    await gate.database.pool.query(
      `INSERT INTO attempts (id, request_id, project_id, provider, model_asked, model_served, dialect_in, streamed, tokens_input,
         tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning, cost_nanousd,
         provenance, outcome, started_at, queue_ms, total_ms, overrun)
       SELECT ledger_day_start($2::date) || lpad(n::text, 16, '0'), 'req', $1, 'bulk', 'm', 'm', 'chat', false,
         1, 0, 0, 0, 0, 0, n, 'measured', 'success', $2::date + interval '1 hour', 0, 0, false
       FROM generate_series(1, 11500) AS n`,
      [projectId, day],
    );
    const { stdout, stderr } = await cli(['usage', 'export', '--since', day, '--until', day]);
    const rows = table(stdout);
    expect(rows).toHaveLength(11_500);
    expect(new Set(rows.map((row) => row['attempt_id'])).size).toBe(11_500);
    expect(stderr).toContain('10000 rows so far.');
  });
});

describe('RecordPromptAttempt', () => {
  const told = (clientId: string, more: object = {}) => ({
    clientId,
    provider: 'bedrock',
    model: 'nova',
    inputTokens: '10',
    outputTokens: '5',
    costNanousd: '700000000',
    outcome: 'ATTEMPT_OUTCOME_SUCCESS',
    startTime: new Date().toISOString(),
    ...more,
  });

  test('keeps what an agent tells apart: no total and no budget counts it', async () => {
    const { agentId, secret } = await gate.agent('teller', { scopes: ['telemetry:write', 'telemetry:read'] });
    const { secret: other } = await gate.agent('listener', { scopes: ['telemetry:read'] });
    await gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
    const body = told('c1');
    const { attempt: made } = await gate.api<{ attempt: { id: string } }>(
      'RunService/RecordPromptAttempt',
      body,
      secret,
    );
    expect(made).toMatchObject({ agentId, projectId, clientId: 'c1', costNanousd: '700000000' });
    expect(await gate.api('RunService/RecordPromptAttempt', body, secret)).toEqual({ attempt: made });
    await expect(gate.api('RunService/RecordPromptAttempt', told('c1', { model: 'x' }), secret)).rejects.toThrow(
      'idempotency_mismatch',
    );
    await expect(
      gate.api('RunService/RecordPromptAttempt', told('c2', { outcome: 'ATTEMPT_OUTCOME_KILLED' }), secret),
    ).rejects.toThrow('outcome must be one of success, failed, timeout, client_closed.');
    await expect(
      gate.api('RunService/RecordPromptAttempt', told('c2', { startTime: undefined }), secret),
    ).rejects.toThrow('start_time is required');
    await expect(gate.api('RunService/RecordPromptAttempt', told('c2'), other)).rejects.toThrow('403');
    await expect(gate.api('RunService/RecordPromptAttempt', told('c2'))).rejects.toThrow("use an agent's key");
    expect(await gate.standing('all')).toEqual({ posted: 0n, held: 0n, remaining: 10n ** 12n });
    const usage = await gate.api<{ rows?: { key: string }[] }>('AnalyticsService/GetUsage', {
      groupBy: 'USAGE_GROUP_AGENT',
    });
    expect((usage.rows ?? []).map(({ key }) => key)).not.toContain(agentId);
    expect((await cli(['usage', 'export', '--since', pastDay(0)])).stdout).not.toContain('bedrock');
    const list = await cli(['usage', 'provisional', '--agent', 'teller']);
    expect(list.stdout).toMatch(/teller +nova +bedrock +success +\$0\.70 +10 +5 +0 +c1 +1$/m);
    // An agent sees its own reports alone.
    const seen = await gate.api<{ attempts?: object[] }>('RunService/ListPromptAttempts', { agentId }, other);
    expect(seen.attempts ?? []).toEqual([]);
  });
});
