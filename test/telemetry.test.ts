import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rollupSeriesPerProjectMax } from '../server/src/base/telemetry-limits.ts';
import { runCommand } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import type { TestGate } from './support/gate.ts';
import { follow } from './support/failover.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, nanoPerToken, post, startGateWithMock } from './support/models.ts';

/** What happened and what it cost, from rollups: `AnalyticsService/GetTelemetrySummary` and `portcullis telemetry`. */

interface Totals {
  readonly attempts: string;
  readonly succeeded: string;
  readonly failed: string;
  readonly refused: string;
  readonly retries: string;
  readonly inputTokens: string;
  readonly costNanousd: string;
  readonly successRate?: number;
  readonly latency?: { readonly meanMs: number; readonly p50Ms?: number; readonly p99Ms?: number };
}

interface Summary {
  readonly startTime: string;
  readonly endTime: string;
  readonly countedUntil: string;
  readonly totals: Totals;
  readonly rows: readonly { readonly key: string; readonly totals: Totals }[];
  readonly truncated: boolean;
  readonly events?: Readonly<Record<'info' | 'warn' | 'error', string>>;
  readonly runs?: Readonly<Record<'running' | 'succeeded' | 'failed' | 'cancelled', string>>;
}

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let agentId: string;
let secret: string;
let runId: string;

beforeAll(async () => {
  const targets = [
    { provider: 'gpt', model: 'first' },
    { provider: 'gpt', model: 'second', weight: 0 },
  ];
  ({ gate, mock, stop } = await startGateWithMock({ models: { pair: { targets } } }));
  ({ agentId, secret } = await gate.agent('caller'));
  await mock.script({ model: 'first', error: 503 });
  const fixed = { usage: { input: 100, output: 10, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 } };
  await mock.script({ model: 'second', ...fixed });
  await mock.script({ model: 'gpt-1', ...fixed });
  const run = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'fix-bug' }, secret);
  runId = run.run.id;
});
afterAll(() => stop?.());

const summary = (request: object = {}) => gate.api<Summary>('AnalyticsService/GetTelemetrySummary', request);

test('a call that took two attempts, one in a run and one that was refused are summed as they went', async () => {
  const { rows } = await follow({ gate, mock }, secret, 'chat', 'pair');
  expect(rows).toMatchObject([
    { attemptNumber: 1, modelServed: 'first', outcome: 'ATTEMPT_OUTCOME_FAILED' },
    { attemptNumber: 2, modelServed: 'second', outcome: 'ATTEMPT_OUTCOME_SUCCESS' },
  ]);
  const headers = { authorization: `Bearer ${secret}`, 'x-portcullis-run': runId };
  expect((await post(gate, doors.chat.path, ask('gpt-1'), headers)).status).toBe(200);
  expect((await post(gate, doors.chat.path, ask('no-such-model'), headers)).status).toBe(404);

  const cost = 100n * nanoPerToken.input + 10n * nanoPerToken.output;
  await expect
    .poll(() => summary(), { timeout: 30_000 })
    .toMatchObject({
      totals: {
        attempts: '4',
        succeeded: '2',
        failed: '1',
        refused: '1',
        retries: '1',
        inputTokens: '200',
        costNanousd: String(2n * cost),
        successRate: 2 / 3,
      },
      runs: { running: '1', succeeded: '0' },
      events: { info: '0', warn: '0', error: '0' },
      rows: [],
    });
  const { totals, startTime, endTime } = await summary();
  expect(totals.latency?.meanMs).toBeGreaterThan(0);
  expect(totals.latency!.p99Ms).toBeGreaterThanOrEqual(totals.latency!.p50Ms!);
  expect(Date.parse(endTime) - Date.parse(startTime)).toBeGreaterThanOrEqual(86_400_000);
  expect(Date.parse(endTime) % 60_000).toBe(0);
  const behindMs = async () => Date.now() - Date.parse((await summary()).countedUntil);
  await expect.poll(behindMs, { timeout: 30_000 }).toBeLessThan(60_000);

  const keys = async (groupBy: string, more: object = {}) => {
    const { rows: found } = await summary({ groupBy: `TELEMETRY_GROUP_${groupBy}`, ...more });
    return found.map(({ key, totals: of }) => `${key} ${of.attempts}`).toSorted();
  };
  // The name that nobody serves is in the ledger, and names no series.
  expect(await keys('MODEL')).toEqual([' 1', 'first 1', 'gpt-1 1', 'second 1']);
  expect(await keys('WORKFLOW')).toEqual([' 2', 'fix-bug 2']);
  expect(await keys('AGENT')).toEqual([`${agentId} 4`]);
  expect(await keys('MODEL', { workflow: 'fix-bug' })).toEqual([' 1', 'gpt-1 1']);
  expect(await keys('MODEL', { model: 'second' })).toEqual(['second 1']);
  expect((await keys('HOUR')).join()).toMatch(/^\d{4}-\d\d-\d\dT\d\d:00:00\.000Z \d/);
  const one = await summary({ groupBy: 'TELEMETRY_GROUP_MODEL', limit: 1, model: 'second' });
  expect(one).toMatchObject({ truncated: false });
  expect(one.events).toBeUndefined();
  expect(one.runs).toBeUndefined();
  expect((await summary({ groupBy: 'TELEMETRY_GROUP_MODEL', limit: 1 })).truncated).toBe(true);
});

describe('a summary', () => {
  test('has no percentiles of an agent, but its mean and those of all', async () => {
    const byAgent = await summary({ groupBy: 'TELEMETRY_GROUP_AGENT' });
    expect(byAgent.totals.latency).toHaveProperty('p95Ms');
    const meanMs = byAgent.totals.latency?.meanMs;
    expect(byAgent.rows.map(({ totals }) => totals.latency)).toEqual([{ meanMs }]);
    const ofAgent = await summary({ groupBy: 'TELEMETRY_GROUP_WORKFLOW', agentId });
    expect(ofAgent.totals.latency).toEqual({ meanMs });
    for (const { totals } of ofAgent.rows) expect(Object.keys(totals.latency ?? {})).toEqual(['meanMs']);
    const { agentId: idle } = await gate.agent('idle');
    expect((await summary({ agentId: idle })).totals.latency).toBeUndefined();
  });

  test('is refused where its window ends before it begins, is too long, or has too many parts', async () => {
    const refused = (request: object) => expect(summary(request)).rejects.toThrow(/invalid_argument|400/);
    await refused({ startTime: '2026-01-02T00:00:00Z', endTime: '2026-01-01T00:00:00Z' });
    await refused({ startTime: '1990-01-02T00:00:00Z' });
    await refused({
      groupBy: 'TELEMETRY_GROUP_MINUTE',
      startTime: '2026-01-02T00:00:00Z',
      endTime: '2026-02-01T00:00:00Z',
    });
  });

  test('of a window that ends more than a day ahead is refused, however far that is', async () => {
    const until = (endTime: string) => summary({ endTime });
    const tomorrow = new Date(Date.now() + 86_000_000).toISOString();
    expect((await until(tomorrow)).totals.attempts).toBe('4');
    await expect(until(new Date(Date.now() + 2 * 86_400_000).toISOString())).rejects.toThrow(/400.*a day ahead/);
    await expect(until('9999-12-31T23:59:59.999Z')).rejects.toThrow(/400.*a day ahead/);
    expect(
      (await summary({ startTime: '0001-01-01T00:00:00Z', endTime: '0001-01-02T00:00:00Z' })).totals.attempts,
    ).toBe('0');
  });

  test('waits for others of its caller, and the door is open to everybody else', async () => {
    const { pool } = gate.database;
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query('LOCK TABLE event_rollups_1h');
    const many = Array.from({ length: 12 }, () => summary());
    const held = async () => {
      const { rowCount } = await pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%event_rollups_%'
           AND wait_event_type = 'Lock'`,
      );
      return rowCount;
    };
    try {
      await expect.poll(held, { timeout: 4_000 }).toBe(2);
      await gate.api('AgentService/ListAgents', {});
      expect(await held()).toBe(2);
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
    for (const answered of await Promise.all(many)) expect(answered.totals.attempts).toBe('4');
  });

  test('is for who may read telemetry, of the own project alone', async () => {
    await expect(gate.api('AnalyticsService/GetTelemetrySummary', {}, secret)).rejects.toThrow(/403/);
    const reader = await gate.agent('reader', { scopes: ['telemetry:read'] });
    await expect(
      gate.api('AnalyticsService/GetTelemetrySummary', { projectId: 'prj_other' }, reader.secret),
    ).rejects.toThrow(/403/);
    const own = await gate.api<Summary>('AnalyticsService/GetTelemetrySummary', {}, reader.secret);
    expect(own.totals.attempts).toBe('4');
    await expect(summary({ projectId: 'prj_other' })).rejects.toThrow(/404.*There is no project prj_other/);
    await expect(summary({ agentId: 'agt_other' })).rejects.toThrow(/404.*There is no agent agt_other/);
  });
});

test('metrics say how many rows were rolled up, and how far behind they are', async () => {
  const read = async (name: string) => {
    const text = await (
      await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } })
    ).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  expect(await read('telemetry_rollup_rows_total\\{source="attempts"\\}')).toBe(4);
  expect(await read('telemetry_rollup_lag_seconds')).toBeLessThan(60);
  const { pool } = gate.database;
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query(`SELECT FROM rollup_watermarks FOR UPDATE`);
  await expect
    .poll(() => read('telemetry_rollup_lag_seconds'), { timeout: 30_000, interval: 500 })
    .toBeGreaterThan(2.5);
  await client.query('ROLLBACK');
  client.release();
  await expect.poll(() => read('telemetry_rollup_lag_seconds'), { timeout: 30_000, interval: 500 }).toBeLessThan(2.5);
});

describe('portcullis telemetry', () => {
  const run = (...args: string[]) =>
    runCommand(['telemetry', ...args], { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey } });

  test('shows the whole, its course, and its parts', async () => {
    const { stdout, code, stderr } = await run('--by', 'model');
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^ATTEMPTS +4, 1 of them retries$/m);
    expect(stdout).toMatch(/^BY HOUR +·+[▁-█]$/m);
    expect(stdout).toMatch(/^ENDED +2 succeeded, 1 failed, 1 refused$/m);
    expect(stdout).toMatch(/^SUCCESS +66\.7 %$/m);
    expect(stdout).toMatch(/^TIMES +mean .+, p50 .+, p90 .+, p95 .+, p99 .+$/m);
    expect(stdout).toMatch(/^COST +\$0\.00024$/m);
    expect(stdout).toMatch(/^MODEL +ATTEMPTS +RETRIES +SUCCESS +COST +MEAN +P50 +P90 +P95 +P99 +ENDED$/m);
    expect(stdout).toMatch(/^second +1 +1 +100\.0 % +\$0\.00012/m);
    expect(stdout).toMatch(/^\(none\) +1 +0 +\$0\.00 +1 refused$/m);
    expect(stderr).toMatch(/^What was recorded until \S+ \S+ is counted\.$/m);
  });

  test('shows agents by name, a course by minute, and JSON for programs', async () => {
    const byAgent = await run('--by', 'agent', '--since', '1h');
    expect(byAgent.stdout).toMatch(/^TIMES +mean \S+ ms, p50 /m);
    expect(byAgent.stdout).toMatch(/^caller +4 +1 +66\.7 % +\$0\.00024 +\S+ ms +– +– +– +– +2 succeeded/m);
    expect(byAgent.stderr).toMatch(/^– Percentiles of answer times are not kept by agent\.$/m);
    const ofAgent = await run('--agent', 'caller');
    expect(ofAgent.stdout).toMatch(/^TIMES +mean \S+ ms, percentiles –$/m);
    expect(ofAgent.stderr).toMatch(/^– Percentiles of answer times are not kept by agent\.$/m);
    expect((await run('--by', 'model')).stderr).not.toContain('Percentiles');
    expect((await run('--since', '1h')).stdout).toMatch(/^BY MINUTE +·*[▁-█·]+$/m);
    const { stdout } = await run('--json', '--workflow', 'fix-bug', '--agent', 'caller');
    expect((JSON.parse(stdout) as Summary).totals.attempts).toBe('2');
    expect((await run('--by', 'colour')).code).not.toBe(0);
    const long = await run('--since', '1600d');
    expect(long.code, long.stderr).toBe(0);
    expect(long.stdout).toMatch(/^ATTEMPTS +4/m);
    expect(long.stdout).not.toMatch(/^BY /m);
    for (const since of ['1497d', '1498d']) expect((await run('--since', since)).stdout).toMatch(/^BY DAY/m);
    expect((await run('--since', '4000d')).stderr).toContain('3660 days at most');
  });
});

test('a project that has had as many names as are told apart is told of in the log, and so are its readers', async () => {
  await queryAsOwner(
    gate.database,
    `INSERT INTO rollup_series (project_id, workflow, prompt_version, model)
     SELECT project_id, 'early', '', 'model ' || n FROM runs, generate_series(1, $2) AS n WHERE id = $1`,
    [runId, rollupSeriesPerProjectMax],
  );
  const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'late' }, secret);
  const headers = { authorization: `Bearer ${secret}`, 'x-portcullis-run': run.id };
  expect((await post(gate, doors.chat.path, ask('gpt-1'), headers)).status).toBe(200);
  const late = async () => (await summary({ workflow: 'late', groupBy: 'TELEMETRY_GROUP_MODEL' })).rows;
  await expect.poll(late, { timeout: 30_000 }).toMatchObject([{ key: '*', totals: { attempts: '1' } }]);
  expect(await summary({ workflow: 'late' })).toMatchObject({ incomplete: false });
  expect(await summary({ model: 'gpt-1' })).toMatchObject({ incomplete: true, totals: { attempts: '1' } });
  const command = (...args: string[]) =>
    runCommand(['telemetry', ...args], { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey } });
  expect((await command('--model', 'gpt-1')).stderr).toContain('Some may be missing');
  const byModel = await command('--by', 'model');
  expect(byModel.stderr).not.toContain('Some may be missing');
  expect(byModel.stdout).toMatch(/^\(others\) +1 /m);
  expect(await gate.settledLog()).toContain('summaries tell no more names apart');
});
