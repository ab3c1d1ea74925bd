import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { approverKey, decideAs, getApproval, type HeldApproval, pendingApprovals } from './support/held-calls.ts';

/** Changes of a policy that the policy in force wants approved. */

let gate: TestGate;
let ann: string;
let bob: string;

beforeAll(async () => {
  gate = await startGate();
  ann = await approverKey(gate, 'ann');
  bob = await approverKey(gate, 'bob');
  await put([guard()]);
});
afterAll(() => gate.stop());

interface State {
  readonly etag: string;
  readonly versionInForce?: number;
  readonly approvalIds?: readonly string[];
}

interface Answer {
  readonly state: State;
  readonly version: { readonly version: number; readonly stage: string };
}

/** A rule that wants changes of the policy approved. */
const guard = (more: object = {}, approval: object = {}) => ({
  name: 'guard',
  actions: ['policy.change'],
  effect: 'RULE_EFFECT_REQUIRE_APPROVAL',
  approval: { approvers: ['role:approver'], ...approval },
  ...more,
});
const deny = (name: string) => ({ name, actions: ['models.invoke'], condition: 'false', effect: 'RULE_EFFECT_DENY' });

const state = async () => (await gate.api<Answer>('PolicyService/GetPolicy')).state;
const put = async (rules: readonly object[], key?: string) =>
  gate.api<Answer>(
    'PolicyService/SetPolicy',
    { document: { rules }, stage: 'POLICY_STAGE_ENFORCED', etag: (await state()).etag },
    key,
  );
const ruleNames = async () =>
  (await gate.api<{ rules?: { name: string }[] }>('PolicyService/ListRules')).rules?.map(({ name }) => name) ?? [];

async function only({ state: { approvalIds = [] } }: Answer): Promise<HeldApproval> {
  expect(approvalIds).toHaveLength(1);
  return getApproval(gate, ann, approvalIds[0] ?? '');
}

describe('a change that the policy in force wants approved', () => {
  test('is a draft with a readable diff until another person approves it, and then in force', async () => {
    const before = (await state()).versionInForce;
    const asked = await put([guard(), deny('one')], bob);
    expect(asked.version.stage).toBe('POLICY_STAGE_DRAFT');
    expect((await state()).versionInForce).toBe(before);
    const approval = await only(asked);
    expect(approval).toMatchObject({
      kind: 'APPROVAL_KIND_POLICY_CHANGE',
      requesterName: expect.any(String),
      rule: 'guard',
    });
    expect(approval.diff).toMatch(/^\+ rule one\n {2}\+ name: "one"\n {2}\+ actions: \["models.invoke"\]/);
    await expect(decideAs(gate, bob, approval.id, 'APPROVE')).rejects.toThrow(/asked for this yourself/);
    // The same again is the same request.
    expect((await put([guard(), deny('one')], bob)).state.approvalIds).toEqual([approval.id]);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    expect((await state()).versionInForce).toBe(asked.version.version);
    expect(await ruleNames()).toEqual(['guard', 'one']);
    expect((await getApproval(gate, ann, approval.id)).useTime).toBeDefined();
  });

  test('stays a draft when it is rejected', async () => {
    const approval = await only(await put([guard(), deny('never')], bob));
    await decideAs(gate, ann, approval.id, 'REJECT', { reason: 'No.' });
    expect(await ruleNames()).toEqual(['guard', 'one']);
  });

  test('is one however it is made: by a rule, a cap, a promotion or a rollback', async () => {
    const { etag } = await state();
    const rule = await gate.api<Answer>('PolicyService/UpsertRule', { rule: deny('two') });
    const cap = await gate.api<Answer>('PolicyService/UpsertPolicyCap', {
      cap: { name: 'c', unit: 'BUDGET_UNIT_REQUESTS', window: 'BUDGET_WINDOW_DAY', limitAmount: '5' },
    });
    const removed = await gate.api<Answer>('PolicyService/DeleteRule', { name: 'guard' });
    const { version } = rule.version;
    const now = (await state()).etag;
    expect(now).not.toBe(etag);
    const promoted = await gate.api<Answer>('PolicyService/PromotePolicy', { version, etag: now });
    const back = await gate.api<Answer>('PolicyService/RollbackPolicy', { etag: now });
    const ids = [rule, cap, removed, promoted, back].map(({ state: { approvalIds = [] } }) => approvalIds[0]);
    expect(ids.every((id) => id !== undefined)).toBe(true);
    // The promotion is of the version that the rule made.
    expect(new Set(ids).size).toBe(4);
    expect(await ruleNames()).toEqual(['guard', 'one']);
    expect((await gate.api<{ budgets?: object[] }>('BudgetService/ListBudgets', {})).budgets ?? []).toEqual([]);

    // What comes in force voids all others.
    await decideAs(gate, ann, ids[1] ?? '', 'APPROVE');
    expect((await gate.api<{ budgets?: object[] }>('BudgetService/ListBudgets', {})).budgets).toHaveLength(1);
    expect(await pendingApprovals(gate, ann)).toEqual([]);
    await expect(decideAs(gate, ann, ids[2] ?? '', 'APPROVE')).rejects.toThrow(/cancelled/);
    expect(await ruleNames()).toEqual(['guard', 'one']);
  });

  test('is void once another version came in force, also where somebody decides in that moment', async () => {
    const first = await only(await put([guard(), deny('x')], bob));
    const second = await only(await put([guard(), deny('y')], bob));
    const decided = await Promise.allSettled([
      decideAs(gate, ann, first.id, 'APPROVE'),
      decideAs(gate, ann, second.id, 'APPROVE'),
    ]);
    expect(decided.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect((await ruleNames()).filter((name) => name === 'x' || name === 'y')).toHaveLength(1);
  });

  test('needs the approval of each rule that asks, by its own people', async () => {
    const both = [guard(), guard({ name: 'second guard' }, { approvers: ['person:bob@example.com'] })];
    await decideAs(gate, ann, (await only(await put(both, bob))).id, 'APPROVE');
    const asked = await put([...both, deny('z')]);
    const [one = '', two = ''] = asked.state.approvalIds ?? [];
    await expect(decideAs(gate, ann, two, 'APPROVE')).rejects.toThrow(/none of the groups/);
    await decideAs(gate, ann, one, 'APPROVE');
    expect(await ruleNames()).not.toContain('z');
    await decideAs(gate, bob, two, 'APPROVE');
    expect(await ruleNames()).toContain('z');
  });

  test('cannot be evaded by a condition that fails: all of the rules ask then', async () => {
    const failing = guard({ name: 'failing', condition: 'args.nothing == 1' });
    const asked = await put([failing]);
    for (const [id, key] of [
      [asked.state.approvalIds?.[0], ann],
      [asked.state.approvalIds?.[1], bob],
    ] as const)
      await decideAs(gate, key, id ?? '', 'APPROVE');
    expect(await ruleNames()).toEqual(['failing']);
    const next = await put([]);
    expect(next.state.approvalIds).toHaveLength(1);
    expect(await ruleNames()).toEqual(['failing']);
  });

  test('is told at the command line', async () => {
    const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
    const { stdout, code } = await runCommand(['policy', 'rules', 'set', 'cli', '--effect', 'allow'], { environment });
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Version \d+ is a draft until people approve it: apr_/)]);
  });
});
