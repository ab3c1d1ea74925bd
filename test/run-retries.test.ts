import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, post, startGateWithMock } from './support/models.ts';

/** A call makes no more upstream attempts than its run allows, whatever its route would do. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;
const suites = 20;
let suite = 0;

beforeAll(async () => {
  // Each test has targets of its own, since a breaker remembers what became of them.
  const models: Record<string, object> = {};
  for (let n = 0; n < suites; n++) {
    const targets = [
      { provider: 'claude', model: `first-${n}` },
      { provider: 'claude', model: `second-${n}`, weight: 0 },
    ];
    models[`pair-${n}`] = { targets, attempts_max: 6 };
    models[`modest-${n}`] = { targets, attempts_max: 2 };
  }
  ({ gate, mock, stop } = await startGateWithMock({ models }));
  ({ secret } = await gate.agent('caller', { scopes: ['models:invoke', 'runs:write', 'telemetry:write'] }));
});
afterAll(() => stop?.());
beforeEach(async () => {
  suite++;
  await mock.reset();
});

const startRun = async (more: object = {}): Promise<string> => {
  const body = { workflow: 'w', ...more };
  return (await gate.api<{ run: { id: string } }>('RunService/StartRun', body, secret)).run.id;
};

/** Both targets of this test fail. */
async function fail(): Promise<void> {
  for (const name of ['first', 'second']) await mock.script({ error: 503, model: `${name}-${suite}` });
}

async function call(model: string, runId: string, rest: object = {}) {
  const headers = { authorization: `Bearer ${secret}`, 'x-portcullis-run': runId };
  const { status } = await post(gate, '/v1/messages', ask(model, rest), headers);
  const seen = await mock.requests();
  return { status, attempts: seen.length };
}

describe('a call whose provider fails', () => {
  test.each([
    [0, 'pair', 1],
    [1, 'pair', 2],
    [3, 'pair', 4],
    // Its route allows less than its run.
    [9, 'modest', 2],
  ])('within a run of max_retries %d on the route %s makes %d attempts', async (maxRetries, kind, most) => {
    const runId = await startRun({ maxRetries });
    await fail();
    expect(await call(`${kind}-${suite}`, runId)).toEqual({ status: 503, attempts: most });
    const rows = (await gate.ledger()).filter(({ modelAsked }) => modelAsked === `${kind}-${suite}`);
    expect(rows).toHaveLength(most);
  });

  test('in a stream makes no more either', async () => {
    await fail();
    expect((await call(`pair-${suite}`, await startRun({ maxRetries: 1 }), { stream: true })).attempts).toBe(2);
  });

  test('within a run that says nothing makes as many as its route allows', async () => {
    await fail();
    expect((await call(`modest-${suite}`, await startRun())).attempts).toBe(2);
  });

  test('is counted by call: the next one of the run may try again', async () => {
    const runId = await startRun({ maxRetries: 1 });
    for (let n = 1; n <= 3; n++) {
      // The second target answers.
      await mock.script({ error: 503, model: `first-${suite}` });
      expect(await call(`pair-${suite}`, runId)).toMatchObject({ status: 200, attempts: 2 * n });
    }
  });

  test('is told of attempts by the same rule', async () => {
    const runId = await startRun({ maxRetries: 1 });
    const told = (attemptNumber: number) =>
      gate.api<{ attempt: object }>(
        'RunService/RecordPromptAttempt',
        {
          clientId: `c${attemptNumber}`,
          callId: 'call',
          attemptNumber,
          runId,
          provider: 'bedrock',
          model: 'nova',
          outcome: 'ATTEMPT_OUTCOME_FAILED',
          startTime: new Date().toISOString(),
        },
        secret,
      );
    expect((await told(1)).attempt).toMatchObject({ callId: 'call', attemptNumber: 1, runId });
    await told(2);
    await expect(told(3)).rejects.toThrow('attempt_number must be from 1 to 2');
  });
});
