import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { approverKey, decideAs, getApproval, type HeldApproval } from './support/held-calls.ts';

/** Gates of runs: where an agent waits for people, by name. The holes of the orchestrator that this replaces are tests here. */

let gate: TestGate;
let ann: string;
let secret: string;

beforeAll(async () => {
  gate = await startGate();
  ann = await approverKey(gate, 'ann');
  ({ secret } = await gate.agent('producer', { scopes: ['runs:write', 'runs:read', 'telemetry:read'] }));
});
afterAll(() => gate.stop());

async function startRun(): Promise<string> {
  const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'videos' }, secret);
  return run.id;
}

async function openGate(runId: string, name: string, args: object = { ideas: ['a', 'b'] }): Promise<HeldApproval> {
  const { approval } = await gate.api<{ approval: HeldApproval }>(
    'ApprovalService/RequestApproval',
    {
      kind: 'APPROVAL_KIND_RUN_GATE',
      action: `runs.gate:${name}`,
      runId,
      argumentsJson: JSON.stringify(args),
      summary: `The gate ${name}`,
    },
    secret,
  );
  return approval;
}

const use = (approvalId: string, digest: string) =>
  gate.api('ApprovalService/UseApproval', { approvalId, digest }, secret);

async function gateEvents(runId: string): Promise<{ type: string; message: string; data?: string }[]> {
  const { events = [] } = await gate.api<{ events?: { type: string; message: string }[] }>(
    'RunService/ListRunEvents',
    { runId },
    secret,
  );
  return events.filter(({ type }) => type === 'gate.decided');
}

describe('a gate of a run', () => {
  test('is answered by a person, once; the agent reads the answer, and whoever watches the run is told', async () => {
    const runId = await startRun();
    const approval = await openGate(runId, 'ideate');
    const waiting = gate.api<{ approval: HeldApproval }>(
      'ApprovalService/GetApproval',
      { approvalId: approval.id, wait: '20s' },
      secret,
    );
    await decideAs(gate, ann, approval.id, 'APPROVE');
    expect((await waiting).approval.state).toBe('APPROVAL_STATE_APPROVED');
    await vi.waitFor(async () =>
      expect(await gateEvents(runId)).toMatchObject([{ message: 'The gate runs.gate:ideate was approved.' }]),
    );
    await use(approval.id, approval.digest);
    await expect(use(approval.id, approval.digest)).rejects.toThrow(/40[39]/);
    await expect(decideAs(gate, ann, approval.id, 'REJECT')).rejects.toThrow(/approved already/);
  });

  test('can be answered by text, by other arguments, and by a no with its reason', async () => {
    const runId = await startRun();
    const answered = await openGate(runId, 'ideate', { ask: 1 });
    await decideAs(gate, ann, answered.id, 'RESPOND', { response: 'Shorter, please.' });
    expect(await getApproval(gate, secret, answered.id)).toMatchObject({ response: 'Shorter, please.' });
    const edited = await openGate(runId, 'ideate', { ask: 2 });
    await decideAs(gate, ann, edited.id, 'EDIT', { editedArgumentsJson: '{"ask":3}' });
    const { editedDigest = '' } = await getApproval(gate, secret, edited.id);
    await expect(use(edited.id, edited.digest)).rejects.toThrow(/40[39]/);
    await use(edited.id, editedDigest);
    const refused = await openGate(runId, 'ideate', { ask: 4 });
    await decideAs(gate, ann, refused.id, 'REJECT', { reason: 'Not this.' });
    expect(await getApproval(gate, secret, refused.id)).toMatchObject({ reason: 'Not this.' });
    await expect(use(refused.id, refused.digest)).rejects.toThrow(/40[39]/);
    await vi.waitFor(async () => expect(await gateEvents(runId)).toHaveLength(3));
  });

  test('an approval at ideate cannot approve prepublish, nor a gate of another run', async () => {
    const runId = await startRun();
    const ideate = await openGate(runId, 'ideate');
    const prepublish = await openGate(runId, 'prepublish');
    const elsewhere = await openGate(await startRun(), 'ideate');
    expect(new Set([ideate.digest, prepublish.digest, elsewhere.digest]).size).toBe(3);
    await decideAs(gate, ann, ideate.id, 'APPROVE');
    for (const other of [prepublish, elsewhere]) {
      expect((await getApproval(gate, ann, other.id)).state).toBe('APPROVAL_STATE_PENDING');
      await expect(use(ideate.id, other.digest)).rejects.toThrow(/40[39]/);
      await expect(use(other.id, ideate.digest)).rejects.toThrow(/40[39]/);
      await expect(decideAs(gate, ann, other.id, 'APPROVE', { digest: ideate.digest })).rejects.toThrow(/40[39]/);
    }
    await use(ideate.id, ideate.digest);
  });

  test('is not decided by an agent, whatever its scopes: neither its own nor another', async () => {
    const runId = await startRun();
    const approval = await openGate(runId, 'ideate', { by: 'agent' });
    const { secret: other } = await gate.agent('supervisor', { scopes: ['admin:read', 'runs:write'] });
    for (const key of [secret, other]) await expect(decideAs(gate, key, approval.id, 'APPROVE')).rejects.toThrow(/403/);
    await expect(decideAs(gate, gate.adminKey, approval.id, 'APPROVE')).rejects.toThrow(/403/);
    expect((await getApproval(gate, ann, approval.id)).state).toBe('APPROVAL_STATE_PENDING');
  });

  test('ends with its run: approving it then does nothing', async () => {
    const runId = await startRun();
    const approval = await openGate(runId, 'prepublish');
    await gate.api('RunService/FinishRun', { runId, outcome: 'RUN_STATE_CANCELLED' }, secret);
    expect((await getApproval(gate, ann, approval.id)).state).toBe('APPROVAL_STATE_CANCELLED');
    await expect(decideAs(gate, ann, approval.id, 'APPROVE')).rejects.toThrow(/cancelled already/);
    await expect(openGate(runId, 'prepublish', { again: true })).rejects.toThrow(/ended/);
  });
});
