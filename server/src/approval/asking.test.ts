import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalJson } from '../audit/canonical-json.ts';
import { approvalsPendingPerRequesterMax, approvalWhatBytesMax } from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import { inTransaction } from '../pg/tx.ts';
import { parseArguments } from './arguments.ts';
import { ask } from './asking.ts';
import type { ApprovalRequest } from './model.ts';
import { claimNotices } from './notices.ts';
import { decisionOf, makeWorld, requestOf, type World } from './testing/world.ts';
import { useApproval } from './use.ts';

let world: World;
let ada: Principal;

beforeAll(async () => {
  world = await makeWorld();
  ada = await world.person('ada', ['approver']);
});
afterAll(() => world.db.drop());

const askFor = (request: ApprovalRequest) => inTransaction(world.pool, (tx) => ask(tx, request));
const refusal = async (more: Partial<ApprovalRequest>): Promise<string> =>
  askFor({ ...requestOf(world.agent), ...more }).then(
    () => 'asked',
    (error: unknown) => PortcullisError.from(error).message,
  );
const rule = (name: string, said: string) => ({ name, digest: createHash('sha256').update(said).digest() });

describe('what is asked for', () => {
  test('has the digest of its canonical JSON: action, arguments, principal and run', async () => {
    const { approval } = await askFor(requestOf(world.agent, { b: 1, a: ['é'] }));
    expect(approval.what).toBe(
      '{"action":"mail.send","arguments":{"a":["é"],"b":1},"principal":{"id":"agt_a","kind":"agent"},"run":"run_a"}',
    );
    expect(approval.digest).toEqual(
      createHash('sha256')
        .update(canonicalJson(JSON.parse(approval.what)))
        .digest(),
    );
  });

  test('is shown without what would hide or turn round the rest, and within bounds', async () => {
    const { approval } = await askFor({
      ...requestOf(world.agent),
      summary: `Pay\u202e\u001b[2J <b>\n${'x'.repeat(5_000)}`,
      diff: 'y'.repeat(200_000),
    });
    expect(approval.summary.startsWith('Pay\uFFFD\uFFFD[2J <b>\nxxx')).toBe(true);
    expect(approval.summary.length).toBeLessThanOrEqual(2_000);
    expect(approval.diff?.length).toBeLessThanOrEqual(64 * 1024);
  });

  test('is refused where people could not see what runs, or nobody could decide', async () => {
    expect(() => parseArguments('arguments', '{"id": 9007199254740993}')).toThrow('beyond 2^53');
    expect(() => parseArguments('arguments', '[1, 1e400]')).toThrow('beyond 2^53');
    expect(() => parseArguments('arguments', `${'['.repeat(100)}${']'.repeat(100)}`)).toThrow('nested deeper');
    expect(() => parseArguments('arguments', '{')).toThrow('must be JSON');
    expect(await refusal({ arguments: '\ud800' })).toContain('not Unicode');
    expect(await refusal({ arguments: 'x'.repeat(approvalWhatBytesMax) })).toContain('at most');
    expect(await refusal({ action: 'a\nb' })).toContain('one line');
    for (const group of ['approver', 'role:king', 'team:', 'person: ', 'team:\u0007'])
      expect(await refusal({ groups: [group] })).toContain('role:<role>');
    expect(await refusal({ quorum: 0 })).toContain('quorum');
    expect(await refusal({ expiresInMs: 10 })).toContain('expiry');
    const step = (afterMs: number) => ({ afterMs, groups: ['role:admin'] });
    expect(await refusal({ ladder: [step(2), step(1)] })).toContain('soonest first');
    expect(await refusal({ ladder: [step(60_000)] })).toContain('has expired');
  });
});

describe('the same again', () => {
  test('attaches, at once or later, and something else does not', async () => {
    const request = requestOf(world.agent, { to: 'all' });
    const asked = await Promise.all(Array.from({ length: 20 }, () => askFor(request)));
    expect(new Set(asked.map(({ approval }) => approval.id)).size).toBe(1);
    expect(asked.filter(({ attached }) => !attached)).toHaveLength(1);
    const [first] = asked;
    const id = first?.approval.id ?? '';
    const others = [
      { arguments: { to: 'ada' } },
      { action: 'mail.forward' },
      { runId: null },
      { requester: { ...request.requester, id: 'agt_b' } },
      { kind: 'run_gate' as const },
      { projectId: 'prj_b' },
    ];
    for (const other of others) {
      const { approval, attached } = await askFor({ ...request, ...other });
      expect(attached).toBe(false);
      expect(approval.id).not.toBe(id);
    }
  });

  test('attaches to what was approved until that is used', async () => {
    const request = requestOf(world.agent);
    const { approval } = await askFor(request);
    await world.approvals.decide(decisionOf(ada, approval.id));
    expect(await askFor(request)).toMatchObject({ attached: true, approval: { id: approval.id, state: 'approved' } });
    expect(await useApproval(world.pool, approval)).toBe(true);
    expect(await askFor(request)).toMatchObject({ attached: false });
  });

  test('does not attach to what was rejected, has expired, or may no longer be used', async () => {
    const rejected = requestOf(world.agent);
    const { approval: no } = await askFor(rejected);
    await world.approvals.decide(decisionOf(ada, no.id, { action: 'reject' }));
    expect((await askFor(rejected)).attached).toBe(false);
    const late = requestOf(world.agent);
    const { approval: old } = await askFor(late);
    await world.pool.query(`UPDATE approvals SET expires_at = clock_timestamp() WHERE id = $1`, [old.id]);
    expect((await askFor(late)).attached).toBe(false);
    expect(await world.found(old.id)).toMatchObject({ state: 'expired' });
    const approved = requestOf(world.agent);
    const { approval: yes } = await askFor(approved);
    await world.approvals.decide(decisionOf(ada, yes.id));
    await world.pool.query(`UPDATE approvals SET ended_at = ended_at - interval '61 s' WHERE id = $1`, [yes.id]);
    expect((await askFor(approved)).attached).toBe(false);
    expect(await useApproval(world.pool, yes)).toBe(false);
  });

  test('is asked anew under another rule, whose approval the old one is not', async () => {
    const request = { ...requestOf(world.agent), rule: rule('mail', 'one') };
    const { approval } = await askFor(request);
    expect((await askFor(request)).attached).toBe(true);
    const changed = { ...request, rule: rule('mail', 'two') };
    const { approval: anew, attached } = await askFor(changed);
    expect(attached).toBe(false);
    expect(await world.found(approval.id)).toMatchObject({ state: 'cancelled' });
    await world.approvals.decide(decisionOf(ada, anew.id));
    expect((await askFor(request)).attached).toBe(false);
    expect(await useApproval(world.pool, anew)).toBe(false);
    expect(await useApproval(world.pool, { ...anew, ruleDigest: request.rule.digest })).toBe(false);
    expect(await useApproval(world.pool, { ...anew, ruleDigest: changed.rule.digest })).toBe(true);
  });
});

test('no more wait for people than a requester may have waiting', async () => {
  const requester = { ...requestOf(world.agent).requester, id: 'agt_many' };
  const asked = await Promise.allSettled(
    Array.from({ length: approvalsPendingPerRequesterMax + 20 }, () =>
      askFor({ ...requestOf(world.agent), requester }),
    ),
  );
  expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(approvalsPendingPerRequesterMax);
  expect(await refusal({ requester })).toContain('wait for people already');
  expect(await refusal({})).toBe('asked');
});

test('a request is told once, to one sender at a time, and not once it is taken back', async () => {
  await world.pool.query('DELETE FROM approval_notices');
  const first = await world.asked();
  const second = await world.asked();
  await world.approvals.cancel({ by: world.agent, requestId: 'req_t', projectId: 'prj_a', id: second.id, reason: '' });
  const claimed = await Promise.all([claimNotices(world.pool, 10, 60_000), claimNotices(world.pool, 10, 60_000)]);
  expect(claimed.flat()).toEqual([{ approvalId: first.id, rung: 0, groups: ['role:approver'], tries: 1 }]);
});
