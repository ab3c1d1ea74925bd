import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApprovalDesk, type Approver, newHitlSecret } from './support/approvals.ts';
import { bearer } from './support/doors.ts';

let desk: ApprovalDesk;
let ada: Approver;
let bo: Approver;
let developer: Approver;

beforeAll(async () => {
  desk = await ApprovalDesk.open({ HITL_SECRET: newHitlSecret() });
  ada = await desk.approver();
  bo = await desk.approver();
  developer = await desk.approver(['engineers']);
}, 120_000);
afterAll(() => desk?.close());

interface Answered {
  readonly state: string;
  readonly digest: string;
  readonly editedDigest?: string;
  readonly whatJson?: string;
  readonly editedWhatJson?: string;
  readonly reason: string;
  readonly response?: string;
  readonly decidedBy?: string;
  readonly useTime?: string;
}

/** Calls a method. @returns its status, and the approval or the refusal's code */
async function call(method: string, body: object, key: string, headers: Record<string, string> = {}) {
  const answer = await fetch(`${desk.gate.url}/portcullis.v1.ApprovalService/${method}`, {
    method: 'POST',
    headers: { ...bearer(key), 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const json = (await answer.json()) as { approval?: Answered; code?: string; message?: string; attached?: boolean };
  return { status: answer.status, headers: answer.headers, ...json };
}
const decide = (id: string, key: string, body: object = {}, headers = {}) =>
  call('DecideApproval', { approvalId: id, action: 'APPROVAL_ACTION_APPROVE', ...body }, key, headers);
const approvalOf = async (id: string, key = desk.agent.secret, wait?: string) =>
  (await call('GetApproval', { approvalId: id, ...(wait !== undefined && { wait }) }, key)).approval;

describe('an agent that asks', () => {
  it('is told when somebody decides, and uses what was approved once', async () => {
    const asked = await desk.ask();
    const waiting = approvalOf(asked.id, desk.agent.secret, '40s');
    expect((await decide(asked.id, ada.key, { reason: 'Go on.' })).status).toBe(200);
    expect(await waiting).toMatchObject({ state: 'APPROVAL_STATE_APPROVED', decidedBy: ada.id, reason: 'Go on.' });
    const use = (digest = asked.digest, key = desk.agent.secret) =>
      call('UseApproval', { approvalId: asked.id, digest }, key);
    expect((await use('0'.repeat(64))).status).toBe(409);
    expect((await use(asked.digest, ada.key)).status).toBe(403);
    const uses = await Promise.all(Array.from({ length: 8 }, () => use()));
    expect(uses.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(uses.filter(({ status }) => status === 409)).toHaveLength(7);
    expect((await approvalOf(asked.id))?.useTime).toEqual(expect.any(String));
  });

  it('is told why not, and what to do instead', async () => {
    const [rejected, answered] = [await desk.ask(), await desk.ask()];
    await decide(rejected.id, ada.key, { action: 'APPROVAL_ACTION_REJECT', reason: 'Not this one.' });
    await decide(answered.id, ada.key, { action: 'APPROVAL_ACTION_RESPOND', response: 'Use the draft.' });
    expect(await approvalOf(rejected.id)).toMatchObject({ state: 'APPROVAL_STATE_REJECTED', reason: 'Not this one.' });
    expect(await approvalOf(answered.id)).toMatchObject({
      state: 'APPROVAL_STATE_REJECTED',
      response: 'Use the draft.',
    });
    const { status, message } = await call(
      'UseApproval',
      { approvalId: rejected.id, digest: rejected.digest },
      desk.agent.secret,
    );
    expect([status, message]).toEqual([409, 'It is rejected: there is nothing to use.']);
  });

  it('runs what somebody edited, under its new digest', async () => {
    const asked = await desk.ask();
    const edited = JSON.stringify({ path: '/tmp/other' });
    const edit = { action: 'APPROVAL_ACTION_EDIT', editedArgumentsJson: edited };
    expect((await decide(asked.id, ada.key, { ...edit, editedArgumentsJson: '[1]' })).status).toBe(400);
    expect((await decide(asked.id, ada.key, edit)).status).toBe(200);
    const told = await approvalOf(asked.id);
    expect(told?.state).toBe('APPROVAL_STATE_EDITED');
    expect(JSON.parse(told?.editedWhatJson ?? '')).toEqual({
      ...(JSON.parse(told?.whatJson ?? '') as object),
      arguments: { path: '/tmp/other' },
    });
    const use = (digest = '') => call('UseApproval', { approvalId: asked.id, digest }, desk.agent.secret);
    expect((await use(asked.digest)).status).toBe(409);
    expect((await use(told?.editedDigest)).status).toBe(200);
  });

  it('attaches when it asks the same again, and not when it asks something else', async () => {
    const argumentsJson = '{"path": "/same", "n": 1}';
    const first = await desk.ask({ argumentsJson });
    expect((await desk.ask({ argumentsJson: '{"n":1.0,"path":"/same"}' })).id).toBe(first.id);
    expect((await desk.ask({ argumentsJson: '{"n":2,"path":"/same"}' })).id).not.toBe(first.id);
  });

  it('can decide nothing, whatever its key, and sees what it asked for itself', async () => {
    const asked = await desk.ask();
    const other = await desk.gate.agent('other agent');
    expect((await decide(asked.id, desk.agent.secret)).status).toBe(403);
    expect((await decide(asked.id, other.secret)).status).toBe(403);
    expect((await decide(asked.id, desk.gate.adminKey)).status).toBe(403);
    expect((await call('GetApproval', { approvalId: asked.id }, other.secret)).status).toBe(404);
    expect((await call('CancelApproval', { approvalId: asked.id }, other.secret)).status).toBe(404);
    expect((await call('ListApprovalVotes', { approvalId: asked.id }, other.secret)).status).toBe(404);
    expect(await desk.gate.api('ApprovalService/ListApprovals', {}, other.secret)).toMatchObject({ approvals: [] });
    expect((await approvalOf(asked.id))?.state).toBe('APPROVAL_STATE_PENDING');
  });

  it('asks for its own runs alone, while they run', async () => {
    const ask = (more: object, key = desk.agent.secret) =>
      call(
        'RequestApproval',
        { kind: 'APPROVAL_KIND_RUN_GATE', action: 'g', argumentsJson: '{}', summary: 's', ...more },
        key,
      );
    const runId = await desk.run();
    const other = await desk.gate.agent('third agent');
    expect((await ask({})).status).toBe(400);
    expect((await ask({ runId }, other.secret)).status).toBe(404);
    expect((await ask({ kind: 'APPROVAL_KIND_KILL_RELEASE', runId })).status).toBe(400);
    expect((await ask({ argumentsJson: '[]', runId })).status).toBe(400);
    expect((await ask({ argumentsJson: '{"n":9007199254740993}', runId })).status).toBe(400);
    expect((await ask({ runId })).status).toBe(200);
    await desk.gate.api('RunService/FinishRun', { runId, outcome: 'RUN_STATE_SUCCEEDED' }, desk.agent.secret);
    expect((await ask({ runId })).status).toBe(409);
  });
});

describe('a request ends', () => {
  it('with its run', async () => {
    const { runId, approval } = await desk.askAtGate();
    await desk.gate.api('RunService/FinishRun', { runId, outcome: 'RUN_STATE_CANCELLED' }, desk.agent.secret);
    expect(await desk.state(approval.id)).toMatchObject({
      state: 'APPROVAL_STATE_CANCELLED',
      reason: 'Its run ended.',
    });
    expect((await decide(approval.id, ada.key)).status).toBe(409);
  });

  it('by the kill switch, and whoever waits is told at once', async () => {
    const { approval } = await desk.askAtGate();
    const waiting = approvalOf(approval.id, desk.agent.secret, '40s');
    const engaged = { scope: 'KILL_SCOPE_WORKFLOW', value: 'videos', reason: 'A test.' };
    const engage = () => desk.gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', engaged);
    const { killSwitch } = await engage();
    expect(await waiting).toMatchObject({
      state: 'APPROVAL_STATE_CANCELLED',
      reason: 'The kill switch stops it: A test.',
    });
    await desk.gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
    const { approval: next } = await desk.askAtGate();
    await decide(next.id, ada.key);
    const again = await engage();
    const use = () => call('UseApproval', { approvalId: next.id, digest: next.digest }, desk.agent.secret);
    expect((await use()).status).toBe(409);
    await desk.gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: again.killSwitch.id });
    expect((await use()).status).toBe(200);
  });

  it('when nobody decides in time, and whoever waits is told', async () => {
    const asked = await desk.ask({ expiry: '1s' });
    expect((await approvalOf(asked.id, desk.agent.secret, '40s'))?.state).toBe('APPROVAL_STATE_EXPIRED');
    expect((await decide(asked.id, ada.key)).status).toBe(409);
  });

  it('when whoever asked takes it back', async () => {
    const asked = await desk.ask();
    expect((await call('CancelApproval', { approvalId: asked.id }, ada.key)).status).toBe(403);
    const taken = await call('CancelApproval', { approvalId: asked.id, reason: 'Done otherwise.' }, desk.agent.secret);
    expect(taken.approval).toMatchObject({ state: 'APPROVAL_STATE_CANCELLED', reason: 'Done otherwise.' });
  });
});

describe('people who decide', () => {
  it('come to one outcome, however many of them come at once', async () => {
    const asked = await desk.ask();
    const bodies = [{}, { action: 'APPROVAL_ACTION_REJECT' }];
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => decide(asked.id, [ada, bo][i % 2]?.key ?? '', bodies[i % 3 === 0 ? 1 : 0])),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(59);
    expect(await desk.audited('approval.decided', asked.id)).toHaveLength(1);
  });

  it('need a session for what several must agree to, and a fresh one for high risk', async () => {
    const two = await desk.ask({ quorum: 2 });
    const high = await desk.ask({ risk: 'APPROVAL_RISK_HIGH' });
    for (const { id } of [two, high]) {
      const { status, message } = await decide(id, ada.key);
      expect([status, message]).toEqual([403, expect.stringContaining('in a browser')]);
    }
  });

  it('are told the same again under the same Idempotency-Key', async () => {
    const asked = await desk.ask();
    const headers = { 'idempotency-key': `decide-${asked.id}` };
    const first = await decide(asked.id, ada.key, {}, headers);
    const again = await decide(asked.id, ada.key, {}, headers);
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(again.approval).toEqual(first.approval);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
  });

  it('see the arguments, which those who neither decide nor audit do not', async () => {
    const asked = await desk.ask();
    expect((await approvalOf(asked.id, ada.key))?.whatJson).toContain('/tmp/');
    const seen = await approvalOf(asked.id, developer.key);
    expect([seen?.digest, seen?.whatJson]).toEqual([asked.digest, undefined]);
    expect((await decide(asked.id, developer.key)).status).toBe(403);
    const [look] = await desk.audited('approval.viewed', asked.id);
    expect(look).toMatchObject({ actor_id: ada.id, payload: { via: 'key', client_address: expect.any(String) } });
  });

  it('decide on what they saw', async () => {
    const asked = await desk.ask();
    expect((await decide(asked.id, ada.key, { digest: '0'.repeat(64) })).status).toBe(409);
    expect((await decide(asked.id, ada.key, { digest: asked.digest })).status).toBe(200);
  });
});
