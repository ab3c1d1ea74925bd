import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';

/** Keys that are bound to a run: what they reach, and how they end. */

let gate: TestGate;
let agentId: string;
let secret: string;
const scopes = ['runs:write', 'telemetry:write'];

beforeAll(async () => {
  gate = await startGate();
  ({ agentId, secret } = await gate.agent('worker', { scopes }));
});
afterAll(() => gate?.stop());

async function startRun(): Promise<string> {
  const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, secret);
  return run.id;
}

const boundKey = (runId: string) => gate.agent(`for ${runId}`, { agentId, runId, scopes });
const finish = (runId: string, by: string) =>
  gate.api('RunService/FinishRun', { runId, outcome: 'RUN_STATE_SUCCEEDED' }, by);

describe('a key that is bound to a run', () => {
  test('ends with its run, and is told so where it asks again', async () => {
    const runId = await startRun();
    const bound = await boundKey(runId);
    const told = await finish(runId, bound.secret);
    for (const again of [
      () => finish(runId, bound.secret),
      () => gate.api('RunService/GetRun', { runId }, bound.secret),
    ])
      await expect(again()).rejects.toThrow(
        /401 .*This key was bound to a run and has ended: with its run, or because it was revoked\./,
      );
    expect(await finish(runId, secret)).toEqual(told);
    // Who only knows its id is told what everybody is.
    const guessed = `${bound.secret.slice(0, -20)}${'0'.repeat(20)}`;
    await expect(gate.api('RunService/GetRun', { runId }, guessed)).rejects.toThrow(/401 .*missing or does not hold/);
    expect(await gate.settledLog()).toContain('"auth_reason":"run_key_ended"');
  });

  test('finds no other run, whatever it asks of it', async () => {
    const [own, other] = [await startRun(), await startRun()];
    const bound = await boundKey(own);
    const startTime = new Date().toISOString();
    const report = { provider: 'p', model: 'm', outcome: 'ATTEMPT_OUTCOME_FAILED', startTime };
    for (const [n, by] of [secret, bound.secret].entries())
      await gate.api(
        'RunService/RecordPromptAttempt',
        { ...report, runId: n === 0 ? other : own, clientId: `${n}` },
        by,
      );
    const asked: [string, object][] = [
      ['GetRun', {}],
      ['FinishRun', { outcome: 'RUN_STATE_FAILED' }],
      ['RecordRunEvent', { event: { type: 'step' } }],
      ['ListRunEvents', {}],
      ['RecordPromptAttempt', { ...report, clientId: 'again' }],
    ];
    for (const [method, body] of asked)
      await expect(gate.api(`RunService/${method}`, { runId: other, ...body }, bound.secret)).rejects.toThrow(
        new RegExp(`404 .*There is no run \\\\"${other}\\\\" that you may see`),
      );
    const list = (filter: object) =>
      gate.api<{ attempts: object[] }>('RunService/ListPromptAttempts', filter, bound.secret);
    expect((await list({})).attempts).toMatchObject([{ runId: own }]);
    expect((await list({ runId: other })).attempts).toEqual([]);
  });
});

test.each([
  ['ListRuns', 'workflow', {}],
  ['ListRuns', 'prompt_version', { workflow: 'w' }],
  ['ListRunEvents', 'type', { runId: 'run_none' }],
  ['StartRun', 'prompt_version', { workflow: 'w' }],
])('a zero byte in a text of %s is refused by its field: %s', async (method, field, more) => {
  await expect(gate.api(`RunService/${method}`, { ...more, [field]: 'a\0b' }, secret)).rejects.toThrow(
    new RegExp(`400 .*\\b${field}\\b`),
  );
});
