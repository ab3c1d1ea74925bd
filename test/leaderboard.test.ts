import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommand } from './support/cli.ts';
import { bearer } from './support/doors.ts';
import type { TestGate } from './support/gate.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** The whole way: register versions, run, finish, judge, and read which is better; by API and command line. */

let gate: TestGate;
let stop: () => Promise<void>;
let builder: { readonly agentId: string; readonly secret: string };
let ownerKey: string;
let reviewerKey: string;

const hostile = `<script>alert(1)</script> & "co'`;

beforeAll(async () => {
  ({ gate, stop } = await startGateWithMock());
  const person = async (email: string) => {
    const made = await gate.api<{ person: { id: string } }>('ProjectService/CreatePerson', { email, name: email });
    const personId = made.person.id;
    const key = { name: email, personId, kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['runs:write', 'telemetry:read'] };
    return { personId, key: (await gate.api<{ secret: string }>('AgentService/CreateKey', key)).secret };
  };
  const owner = await person('owner@example.com');
  ownerKey = owner.key;
  reviewerKey = (await person('reviewer@example.com')).key;
  const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
    name: 'builder',
    personId: owner.personId,
  });
  const key = { agentId: agent.id, name: 'k', kind: 'PRINCIPAL_KIND_AGENT', scopes: ['models:invoke', 'runs:write'] };
  const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', key);
  builder = { agentId: agent.id, secret };
});
afterAll(() => stop?.());

interface RunOf {
  readonly workflow: string;
  readonly promptVersion?: string;
  readonly taskId?: string;
  readonly outcome?: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
  /** How many model calls it makes. */
  readonly calls?: number;
}

/** @returns the run's id */
async function run({ outcome = 'SUCCEEDED', calls = 0, ...start }: RunOf): Promise<string> {
  const started = await gate.api<{ run: { id: string } }>('RunService/StartRun', start, builder.secret);
  const { id } = started.run;
  for (let call = 0; call < calls; call++) {
    const headers = { ...bearer(builder.secret), 'x-portcullis-run': id };
    expect((await post(gate, doors.anthropic.path, ask(doors.anthropic.model), headers)).status).toBe(200);
  }
  await gate.api('RunService/FinishRun', { runId: id, outcome: `RUN_STATE_${outcome}` }, builder.secret);
  return id;
}

async function register(workflow: string, label: string, content: string): Promise<void> {
  await gate.api('AnalyticsService/RegisterPromptVersion', { workflow, label, content }, builder.secret);
}

interface Measure {
  readonly value: number;
  readonly n: string;
  readonly interval?: { readonly low: number; readonly high: number };
}

interface Entry {
  readonly rank?: number;
  readonly label: string;
  readonly model: string;
  readonly score?: number;
  readonly parts?: Readonly<Record<string, number>>;
  readonly succeeded: string;
  readonly failed: string;
  readonly success?: Measure;
  readonly costPerSuccess?: Measure;
  readonly durationP50?: Measure;
  readonly rating?: Measure;
  readonly evaluation?: Measure;
}

interface Board {
  readonly entries: readonly Entry[];
  readonly truncated: boolean;
}

const board = (workflow: string, more: object = {}) =>
  gate.api<Board>('AnalyticsService/GetLeaderboard', { workflow, ...more }, reviewerKey);

/** Waits until what is asked for has come about: counting is a few seconds behind. */
const eventually = <T>(look: () => Promise<T>) => vi.waitFor(look, { timeout: 60_000, interval: 200 });

const command = (args: readonly string[], key = gate.adminKey, isTTY = false) =>
  runCommand(args, { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: key }, isTTY });

it('tells which version is better, from runs, their cost, and what others say of them', async () => {
  const workflow = 'fix-bug';
  await register(workflow, 'brief', 'Fix it.');
  await register(workflow, 'thorough', 'Fix it, and think.');
  const judged: string[] = [];
  for (let n = 0; n < 10; n++) {
    judged.push(await run({ workflow, promptVersion: 'thorough', taskId: `task-${n}`, calls: 2 }));
    await run({
      workflow,
      promptVersion: 'brief',
      taskId: `task-${n}`,
      calls: 1,
      outcome: n < 2 ? 'SUCCEEDED' : 'FAILED',
    });
  }
  await run({ workflow, promptVersion: 'brief', outcome: 'CANCELLED' });
  await run({ workflow });
  for (const runId of judged.slice(0, 5)) {
    await gate.api('AnalyticsService/RatePrompt', { runId, rating: 2, comment: 'hm' }, reviewerKey);
    await gate.api('AnalyticsService/RatePrompt', { runId, rating: 4, comment: hostile }, reviewerKey);
    const evaluation = { runId, evaluator: 'tests-pass', score: 0.9, notes: '' };
    await gate.api('AnalyticsService/RecordEvaluation', evaluation, reviewerKey);
  }
  const { entries } = await eventually(async () => {
    const now = await board(workflow);
    const [first, second] = now.entries;
    expect([first?.evaluation?.n, first?.costPerSuccess?.n, second?.costPerSuccess?.n]).toEqual(['5', '10', '11']);
    // The ledger's sums come when they are rolled up.
    expect(second?.costPerSuccess?.value).toBeCloseTo(((first?.costPerSuccess?.value ?? 0) / 2) * 5, 3);
    return now;
  });
  expect(entries.map(({ rank, label }) => [rank, label])).toEqual([
    [1, 'thorough'],
    [2, 'brief'],
    [undefined, ''],
  ]);
  const [thorough, brief, none] = entries;
  expect(thorough).toMatchObject({
    succeeded: '10',
    failed: '0',
    success: { value: 1, n: '10', interval: { high: 1 } },
    rating: { value: 4, n: '5', interval: { low: expect.closeTo(2.555, 3), high: expect.closeTo(4.874, 3) } },
    evaluation: { value: 0.9 },
    parts: { cost: expect.closeTo(0.722, 3), rating: 0.75, evaluation: 0.9 },
  });
  expect(thorough?.success?.interval?.low).toBeCloseTo(0.722, 3);
  expect(thorough?.costPerSuccess?.value).toBeGreaterThan(0);
  expect(brief).toMatchObject({ succeeded: '2', failed: '8', cancelled: '1', success: { value: 0.2, n: '10' } });
  expect(none?.score).toBeUndefined();

  // Until the last call is rolled up, its run has no model.
  await eventually(async () => {
    const byModel = await board(workflow, { byModel: true, minRuns: 1 });
    expect(byModel.entries.map(({ label, model }) => `${label} ${model}`).toSorted()).toEqual(
      [' ', 'brief ', `brief ${doors.anthropic.model}`, `thorough ${doors.anthropic.model}`].toSorted(),
    );
  });
  expect((await board(workflow, { model: doors.anthropic.model })).entries).toHaveLength(2);
  expect((await board(workflow, { limit: 1 })).entries).toHaveLength(1);
  expect((await board(workflow, { limit: 1 })).truncated).toBe(true);
  expect((await board('nowhere')).entries).toEqual([]);
  const cost = await board(workflow, { weights: { cost: 1 } });
  expect(cost.entries.map(({ score }) => score)).toEqual([expect.closeTo(0.722, 3), 0, undefined]);
  expect((await board(workflow, { preset: 'LEADERBOARD_PRESET_QUALITY' })).entries[0]?.score).toBeCloseTo(
    0.5 * 0.722 + 0.25 * 0.75 + 0.25 * 0.9,
    2,
  );
  for (const wrong of [
    { weights: {} },
    { weights: { cost: -1 } },
    { weights: { cost: 1e300 } },
    { weights: { cost: 'NaN' } },
    { weights: { cost: 1 }, preset: 'LEADERBOARD_PRESET_COST' },
    { windowDays: 367 },
    { minRuns: 0 },
    { limit: 501 },
  ])
    await expect(board(workflow, wrong), JSON.stringify(wrong)).rejects.toThrow('400');
  const { workflows } = await gate.api<{ workflows: unknown[] }>(
    'AnalyticsService/ListRankedWorkflows',
    {},
    reviewerKey,
  );
  expect(workflows).toEqual([{ workflow }]);

  const compared = await gate.api<{ tasks: number; success: object; cost: object; first: object }>(
    'AnalyticsService/ComparePromptVersions',
    { workflow, first: 'brief', second: createHash('sha256').update('Fix it, and think.').digest('hex') },
    reviewerKey,
  );
  expect(compared).toMatchObject({
    tasks: 10,
    success: { mean: 0.8, more: 8, less: 0, same: 2, p: expect.closeTo(2 / 2 ** 8, 9) },
    cost: { more: 10, less: 0 },
    first: { runs: '11', runsWithoutTask: '1', truncated: false },
  });
  const same = { workflow, first: 'brief', second: 'brief' };
  await expect(gate.api('AnalyticsService/ComparePromptVersions', same, reviewerKey)).rejects.toThrow('400');

  const shown = await command(['leaderboard', workflow], reviewerKey, true);
  expect(shown.stdout).toMatch(/1 +thorough +0\.\d{3} +10 +0 +·+├─*●\S* +100 % \(72–100\)/);
  expect(shown.stdout).toContain('not enough data');
  const piped = await command(['leaderboard', workflow, '--by-model', '--weights', 'success=1'], reviewerKey);
  expect(piped.stdout).not.toContain('●');
  expect(piped.stderr).toContain('Score: success 100 %');
  const difference = await command(['leaderboard', workflow, '--compare', 'brief', 'thorough'], reviewerKey);
  expect(difference.stdout).toContain('+80.0 points');
  expect(difference.stdout).toContain('sign test p = 0.008');
  expect((await command(['leaderboard'], reviewerKey)).stdout).toContain(workflow);
  const { stdout } = await command(['runs', 'ratings', judged[0] ?? ''], reviewerKey);
  expect(stdout).toContain(hostile);
}, 180_000);

describe('who judges a run', () => {
  it('is neither its agent, by any key, nor the person who answers for it', async () => {
    const started = await gate.api<{ run: { id: string } }>(
      'RunService/StartRun',
      { workflow: 'judge' },
      builder.secret,
    );
    const runId = started.run.id;
    const bound = { agentId: builder.agentId, name: 'b', kind: 'PRINCIPAL_KIND_AGENT', scopes: ['runs:write'], runId };
    const { secret: boundKey } = await gate.api<{ secret: string }>('AgentService/CreateKey', bound);
    const judge = (key: string) => [
      () => gate.api('AnalyticsService/RatePrompt', { runId, rating: 5, comment: '' }, key),
      () => gate.api('AnalyticsService/RecordEvaluation', { runId, evaluator: 'me', score: 1, notes: '' }, key),
    ];
    for (const asked of judge(boundKey)) await expect(asked()).rejects.toThrow('policy_denied');
    await gate.api('RunService/FinishRun', { runId, outcome: 'RUN_STATE_FAILED' }, builder.secret);
    for (const key of [builder.secret, ownerKey])
      for (const asked of judge(key)) await expect(asked()).rejects.toThrow('policy_denied');
    const stranger = await gate.agent('stranger');
    for (const asked of judge(stranger.secret)) await expect(asked()).rejects.toThrow('not_found');
    for (const asked of judge(reviewerKey)) await asked();
    const rated = await command(['runs', 'rate', runId, '2', '--comment', 'no'], reviewerKey);
    expect(rated.stdout).toContain('2 of 5');
    const evaluated = await command(['runs', 'evaluate', runId, 'me', '0.25'], reviewerKey);
    expect(evaluated.stdout).toContain('0.25 from me');
    const { ratings } = await gate.api<{ ratings: object[] }>(
      'AnalyticsService/ListRunRatings',
      { runId },
      builder.secret,
    );
    expect(ratings).toMatchObject([{ rating: 2, comment: 'no' }]);
    const { evaluations } = await gate.api<{ evaluations: object[] }>('AnalyticsService/ListRunEvaluations', { runId });
    expect(evaluations).toMatchObject([{ evaluator: 'me', score: 0.25 }]);
    expect((await command(['runs', 'evaluations', runId])).stdout).toContain('0.25');
    const denied = await command(['runs', 'rate', runId, '5'], ownerKey);
    expect([denied.code, denied.stderr]).toEqual([3, expect.stringContaining('may judge its runs')]);
  });
});

describe('names that others chose', () => {
  it('stay text in the API and at a terminal, and what a terminal would obey is refused', async () => {
    await register(hostile, hostile, 'a prompt');
    for (let n = 0; n < 2; n++) await run({ workflow: hostile, promptVersion: hostile });
    const { entries } = await eventually(async () => {
      const now = await board(hostile);
      expect(now.entries).toHaveLength(1);
      return now;
    });
    expect(entries[0]?.label).toBe(hostile);
    const { stdout } = await command(['leaderboard', hostile]);
    expect(stdout).toContain(hostile);
    for (const label of ['\u001b]0;gone\u0007', '\u202Egnp.exe', 'two\nlines', '\u200b']) {
      await expect(register('fix-bug', label, label)).rejects.toThrow('400');
    }
    await expect(register('fix-bug', 'big', 'x'.repeat(1_100_000))).rejects.toThrow(/resource_exhausted|413/);
  });
});

describe('portcullis prompts', () => {
  it('registers by a digest that is made here, once, and lists', async () => {
    const content = 'Write a test first.';
    const first = await command([
      'prompts',
      'register',
      'write',
      'v1',
      '--digest',
      createHash('sha256').update(content).digest('hex'),
    ]);
    expect(first.stdout).toContain('v1');
    const again = await gate.api<{ promptVersion: { label: string } }>('AnalyticsService/RegisterPromptVersion', {
      workflow: 'write',
      label: 'v1',
      content,
    });
    expect(again.promptVersion.label).toBe('v1');
    const other = await command([
      'prompts',
      'register',
      'write',
      'v2',
      '--digest',
      createHash('sha256').update(content).digest('hex'),
    ]);
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('is registered for the workflow as "v1"')]);
    const listed = await command(['prompts', 'list', '--workflow', 'write', '--json']);
    expect(JSON.parse(listed.stdout)).toMatchObject({ promptVersions: [{ label: 'v1' }] });
    const file = await command(['prompts', 'register', 'write', 'this file', import.meta.filename, '--json']);
    expect(JSON.parse(file.stdout)).toMatchObject({
      promptVersion: { digest: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    const lines = (await gate.settledLog()).split('\n').filter((line) => line.includes('RegisterPromptVersion'));
    expect(lines.join('\n')).not.toContain('test first');
  });
});
