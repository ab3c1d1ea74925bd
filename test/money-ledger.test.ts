import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import type { TestGate } from './support/gate.ts';
import { attemptAt, dayOf, makeDay, noon, writeRows } from './support/ledger-days.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** What an operator sees of the ledger from outside: what is reserved, how far sums can be trusted, and which days go. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { LEDGER_RETENTION_DAYS: '30', DRAIN_MS: '500' } }));
});
afterAll(() => stop());

function cli(args: readonly string[], key = gate.adminKey) {
  return runCommand(args, { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: key } });
}

interface Holds {
  readonly holds: readonly {
    readonly attemptId: string;
    readonly agentId: string;
    readonly modelAsked: string;
    readonly provider: string;
    readonly heldNanousd: string;
    readonly amounts: readonly { readonly budgetName: string; readonly amount: string; readonly windowKey: string }[];
    readonly createTime: string;
    readonly deadlineTime: string;
  }[];
  readonly nextPageToken: string;
}

test('calls in flight are listed with what they hold on each budget, and are gone when they end', async () => {
  const { agentId, secret } = await gate.agent('waiting');
  await gate.budget({ name: 'money', unit: 'USD', limit: 10_000_000_000n, selector: { agentId } });
  await gate.budget({ name: 'calls', unit: 'REQUESTS', limit: 10n, selector: { agentId } });
  await mock.script({ model: 'claude-silent', never: true });
  const headers = { authorization: `Bearer ${secret}` };
  const aborted = new AbortController();
  const calls = [1, 2].map(() =>
    fetch(`${gate.url}${doors.anthropic.path}`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: ask('claude-silent'),
      signal: aborted.signal,
    }).catch((error: unknown) => error),
  );
  await mock.until((requests) => requests.length === 2);

  const first = await gate.api<Holds>('AnalyticsService/ListHolds', { pageSize: 1 });
  const second = await gate.api<Holds>('AnalyticsService/ListHolds', { pageSize: 1, pageToken: first.nextPageToken });
  expect(second.nextPageToken).toBe('');
  const { held } = await gate.standing('money');
  for (const hold of [...first.holds, ...second.holds]) {
    expect(hold).toMatchObject({ agentId, modelAsked: 'claude-silent', provider: 'claude' });
    expect(hold.amounts).toMatchObject([
      { budgetName: 'calls', amount: '1', windowKey: 'lifetime' },
      { budgetName: 'money', amount: hold.heldNanousd },
    ]);
    expect(BigInt(hold.heldNanousd) * 2n).toBe(held);
    expect(Date.parse(hold.deadlineTime)).toBeGreaterThan(Date.parse(hold.createTime));
  }
  expect(first.holds[0]!.attemptId > second.holds[0]!.attemptId).toBe(true);

  const table = await cli(['usage', 'holds']);
  expect(table.code).toBe(0);
  expect(table.stdout).toMatch(/^SINCE +AGENT +MODEL +PROVIDER +AT MOST +BUDGETS +UNTIL +ATTEMPT\n/);
  expect(table.stdout.match(/waiting +claude-silent +claude +\$\S+ +calls: 1 requests, money: \$/g)).toHaveLength(2);
  const json = JSON.parse((await cli(['usage', 'holds', '--json'])).stdout) as Holds;
  expect(json.holds.map(({ attemptId }) => attemptId)).toEqual(
    [...first.holds, ...second.holds].map(({ attemptId }) => attemptId),
  );

  // Nobody sees what another project holds, and who may only call sees nothing.
  const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'other' });
  expect(await gate.api('AnalyticsService/ListHolds', { projectId: project.id })).toMatchObject({ holds: [] });
  await expect(gate.api('AnalyticsService/ListHolds', {}, secret)).rejects.toThrow(/403/);

  aborted.abort();
  await Promise.all(calls);
  await expect
    .poll(() => cli(['usage', 'holds']), { timeout: 10_000 })
    .toMatchObject({
      stdout: '',
      stderr: 'Nothing is reserved.\n',
    });
});

test('sums say how much of them is estimated, and rows what was held for them', async () => {
  const { agentId, keyId, secret } = await gate.agent('broken');
  const headers = { authorization: `Bearer ${secret}` };
  await gate.budget({ name: 'all of it', unit: 'USD', limit: 10_000_000_000n, selector: { agentId } });
  await mock.script({ model: 'claude-whole', tokens: 5 });
  await mock.script({ model: 'claude-cut', tokens: 50, cutAfter: 10 });
  expect((await post(gate, doors.anthropic.path, ask('claude-whole'), headers)).status).toBe(200);
  await post(gate, doors.anthropic.path, ask('claude-cut', { stream: true }), headers).catch(() => undefined);
  const rowsOf = async () => (await gate.ledger()).filter((row) => row.agentId === agentId);
  await expect.poll(async () => (await rowsOf()).length, { timeout: 10_000 }).toBe(2);
  const rows = await rowsOf();
  const usage = (filter: object) =>
    gate.api<{ rows: { key: string; totals: Record<string, string> }[] }>('AnalyticsService/GetUsage', {
      groupBy: 'USAGE_GROUP_MODEL',
      filter,
    });
  const sum = await usage({ keyId });
  for (const { key, totals } of sum.rows) {
    const row = rows.find(({ modelAsked }) => modelAsked === key);
    const estimated = row?.provenance === 'PROVENANCE_ESTIMATED';
    expect(totals).toMatchObject({
      costNanousd: row?.costNanousd,
      estimatedNanousd: estimated ? row?.costNanousd : '0',
      measuredNanousd: estimated ? '0' : row?.costNanousd,
      reconciledNanousd: '0',
    });
  }
  expect(sum.rows.map(({ key }) => key).toSorted()).toEqual(['claude-cut', 'claude-whole']);
  expect((await usage({ agentId, outcome: 'ATTEMPT_OUTCOME_SUCCESS' })).rows.map(({ key }) => key)).toEqual([
    'claude-whole',
  ]);
  expect((await usage({ agentId, workflow: 'none' })).rows).toEqual([]);
  const { attempts } = await gate.api<{ attempts: { heldNanousd: string; costNanousd: string }[] }>(
    'AnalyticsService/ListAttempts',
    { filter: { keyId, outcome: 'ATTEMPT_OUTCOME_SUCCESS' } },
  );
  expect(attempts).toHaveLength(1);
  expect(BigInt(attempts[0]!.heldNanousd)).toBeGreaterThanOrEqual(BigInt(attempts[0]!.costNanousd));

  const table = await cli(['usage', '--by', 'model', '--agent', 'broken']);
  expect(table.stdout).toMatch(/^MODEL +COST +ESTIMATED +NOTIONAL/);
  const listed = await cli(['usage', 'attempts', '--key', keyId, '--outcome', 'success']);
  expect(listed.stdout.split('\n')).toHaveLength(3);
});

test('days that are over are told beforehand, dropped after the start, and stand in the audit log', async () => {
  const agentId = 'agt_old';
  const rows = [40, 31, 20].map((ago) => attemptAt(noon(-ago), { agentId, costUsd: 1_000_000_000n }));
  for (const ago of [40, 31, 20]) await makeDay(gate.database, dayOf(noon(-ago)));
  await writeRows(gate.database.pool, rows);
  await queryAsOwner(gate.database, 'UPDATE attempts SET recorded_at = started_at');

  const told = await cli(['usage', 'retention']);
  expect(told.stdout).toMatch(/^OVER +ROWS +COST +BYTES +STAYS\n/);
  const lines = (text: string) =>
    text
      .split('\n')
      .slice(1, -1)
      .map((line) => line.split(/ +/).slice(0, 3));
  expect(lines(told.stdout)).toEqual([40, 31].map((ago) => [dayOf(noon(-ago)), '1', '$1.00']));
  expect(told.stderr).toMatch(`30 days are kept; the oldest kept is ${dayOf(noon(-20))}. They take `);
  const asked = await cli(['usage', 'retention', '--days', '7', '--json']);
  expect(JSON.parse(asked.stdout)).toMatchObject({
    keptDays: 7,
    over: [40, 31, 20].map((ago) => ({ date: dayOf(noon(-ago)) })),
  });
  expect(await cli(['usage', 'retention', '--days', '0'])).toMatchObject({ stdout: '' });
  expect((await cli(['usage', 'retention', '--days', '3'])).stderr).toContain('kept_days must be 0 (all) or from 7');
  const { secret } = await gate.agent('curious', { scopes: ['models:invoke', 'telemetry:read'] });
  await expect(gate.api('AnalyticsService/GetLedgerRetention', {}, secret)).rejects.toThrow(/403/);

  // What is not in the sums yet stays.
  const ahead = `SELECT (SELECT max(tx_id) FROM attempts) < tx_id AS counted FROM rollup_watermarks WHERE source = 'attempts'`;
  await expect.poll(() => queryAsOwner(gate.database, ahead), { timeout: 30_000 }).toEqual([{ counted: true }]);
  await gate.end();
  await gate.start();
  const audit = () =>
    queryAsOwner(
      gate.database,
      `SELECT target, payload FROM audit_entries WHERE action = 'ledger.day_dropped' ORDER BY target`,
    );
  await expect
    .poll(audit, { timeout: 30_000 })
    .toEqual(
      [40, 31].map((ago) => ({ target: dayOf(noon(-ago)), payload: { rows: '1', cost_nanousd: '1000000000' } })),
    );
  expect(await cli(['usage', 'retention'])).toMatchObject({
    stdout: '',
    stderr: expect.stringContaining('No day is over.'),
  });
});

test.each(['6', '-1', 'month'])('a gate that shall keep %s days does not start', async (days) => {
  const refused = await runCommand(['config', 'check'], {
    environment: { LEDGER_RETENTION_DAYS: days, DATABASE_URL: gate.database.appUrl, SECRETS_KEY: 'x'.repeat(32) },
  });
  expect(refused.code).not.toBe(0);
  expect(refused.stderr + refused.stdout).toContain('LEDGER_RETENTION_DAYS');
});
