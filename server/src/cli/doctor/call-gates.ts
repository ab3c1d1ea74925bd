import { setTimeout as sleep } from 'node:timers/promises';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AnalyticsService, UsageGroup } from '../../gen/portcullis/v1/analytics_pb.ts';
import { BudgetMode, BudgetService, BudgetUnit, BudgetWindow } from '../../gen/portcullis/v1/budget_pb.ts';
import { KillScope, PolicyService } from '../../gen/portcullis/v1/policy_pb.ts';
import { present } from '../gate-command.ts';
import { type DeploymentGate, expectStatus, NotTested, ownOf, type Subject } from './deployment-gate.ts';
import { openStream, probe, type ProbeAnswer } from './probe.ts';
import { bearer, control, modelCall, self } from './requests.ts';

const countedMs = 5_000;
const changeMs = 2_000;
const streamEndMs = 3_000;
const killMs = 5 * 60_000;
const burstMax = 2_000;
const burstWidth = 20;

/** Whether calls are let through, counted, limited and stopped. */
export const callGates: readonly DeploymentGate[] = [
  {
    name: 'model call',
    check: async (subject) => {
      const answer = await call(subject);
      expectStatus(`a call to "${subject.model}"`, answer, 200);
      if (answer.headers['x-request-id'] === undefined) throw new Error('the answer has no x-request-id');
      return `${subject.model} answered`;
    },
  },
  {
    name: 'metrics move',
    check: async (subject) => {
      const before = await attemptsCounted(subject);
      expectStatus('a call', await call(subject), 200);
      await eventually('the call did not move upstream_attempts_total', async () => {
        return (await attemptsCounted(subject)) > before;
      });
      return 'upstream_attempts_total grew with a call';
    },
  },
  {
    name: 'ledger',
    check: async (subject) => {
      const { projectId, agentId } = ownOf(subject);
      const analytics = subject.api.of(AnalyticsService);
      const count = async () => {
        const { rows } = await analytics.getUsage({ groupBy: UsageGroup.AGENT, filter: { agentId }, projectId });
        return rows[0]?.totals;
      };
      const before = (await count())?.attempts ?? 0n;
      expectStatus('a call', await call(subject), 200);
      await eventually('the call is not in the ledger', async () => ((await count())?.attempts ?? 0n) > before);
      const totals = await count();
      if ((totals?.outputTokens ?? 0n) === 0n) throw new Error('the ledger has the call without its tokens');
      return `${String(totals?.attempts ?? 0n)} attempts, with their tokens`;
    },
  },
  {
    name: 'budget',
    check: async (subject) => {
      const { projectId, caller } = ownOf(subject);
      const budgets = subject.api.of(BudgetService);
      const { budget } = await budgets.createBudget({
        name: `doctor-${caller.id}`,
        selector: { keyId: caller.id },
        unit: BudgetUnit.REQUESTS,
        window: BudgetWindow.LIFETIME,
        limitAmount: 0n,
        mode: BudgetMode.ENFORCE,
        projectId,
      });
      try {
        await expectFinal(subject, 'a call under a budget of zero', 429);
      } finally {
        await budgets.deleteBudget({ budgetId: present(budget).id, projectId });
      }
      await answered(subject, 'a call after the budget was deleted', 200);
      return 'a budget of zero refuses, and its end lets through';
    },
  },
  { name: 'kill switch', check: killSwitch },
  { name: 'rate limit', check: rateLimit },
];

async function killSwitch(subject: Subject): Promise<string> {
  const { projectId, agentId, caller } = ownOf(subject);
  const policy = subject.api.of(PolicyService);
  const slow = /^sim(-|$)/.test(subject.model) ? `${subject.model}-rate-5-tokens-300` : null;
  const stream = slow === null ? null : await openStream(subject.api.url, modelCall(slow, caller, true));
  let said = 'new calls are refused, and after the release let through';
  try {
    if (stream) expectStatus('a stream', stream, 200);
    const { killSwitch } = await policy.engageKillSwitch({
      scope: KillScope.AGENT,
      value: agentId,
      reason: 'portcullis doctor tries the kill switch on its own agent',
      expireTime: timestampFromMs(Date.now() + killMs),
      projectId,
    });
    try {
      if (stream) said = `${await endOf(stream.rest)}; ${said}`;
      await expectFinal(subject, 'a call of a stopped agent', 503);
    } finally {
      await policy.releaseKillSwitch({ killSwitchId: present(killSwitch).id, projectId });
    }
  } finally {
    stream?.close();
  }
  await answered(subject, 'a call after the release', 200);
  return said;
}

async function endOf(rest: Promise<string>): Promise<string> {
  const began = performance.now();
  const text = await Promise.race([rest, sleep(streamEndMs, null)]);
  if (text === null) throw new Error(`a stream in flight went on for ${streamEndMs / 1000} s`);
  if (text.includes('message_stop')) throw new Error('a stream in flight ended as if it were complete');
  return `a stream in flight ended within ${Math.ceil(performance.now() - began)} ms`;
}

async function rateLimit(subject: Subject): Promise<string> {
  const { bare } = ownOf(subject);
  const ask = () => probe(subject.api.url, control(self, bearer(bare)));
  const limit = Number(/q=(\d+)/.exec(String((await ask()).headers['ratelimit-policy'] ?? ''))?.[1]);
  if (!(limit > 0)) throw new Error('the control API announces no limit (RateLimit-Policy)');
  if (limit > burstMax) throw new NotTested(`the limit of ${limit} a minute is too high to be tried`);
  let answer: ProbeAnswer | undefined;
  for (let sent = 0; sent < limit + burstWidth && answer?.status !== 429; sent += burstWidth) {
    const answers = await Promise.all(Array.from({ length: burstWidth }, ask));
    answer = answers.find(({ status }) => status === 429) ?? answers[0];
  }
  if (answer?.status !== 429) throw new Error(`${limit + burstWidth} calls at once were all let through`);
  if (answer.headers['retry-after'] === undefined) throw new Error('the 429 has no Retry-After');
  const other = await probe(subject.api.url, { path: '/v1/models', headers: bearer(ownOf(subject).caller) });
  expectStatus("another key's call", other, 200);
  return `429 after ${limit} calls a minute; another key is not slowed`;
}

function call(subject: Subject): Promise<ProbeAnswer> {
  return probe(subject.api.url, modelCall(subject.model, ownOf(subject).caller));
}

/** Calls until the answer has this status: a change reaches each replica of a fleet within a second. */
async function answered(subject: Subject, what: string, status: number): Promise<ProbeAnswer> {
  const deadline = performance.now() + changeMs;
  for (;;) {
    const answer = await call(subject);
    if (answer.status === status || performance.now() > deadline) {
      expectStatus(what, answer, status);
      return answer;
    }
    await sleep(100);
  }
}

async function expectFinal(subject: Subject, what: string, status: number): Promise<void> {
  const { headers } = await answered(subject, what, status);
  if (headers['x-should-retry'] !== 'false') throw new Error(`${what} is not told that trying again cannot help`);
}

async function attemptsCounted(subject: Subject): Promise<number> {
  const answer = await probe(subject.api.url, { path: '/metrics', headers: bearer(ownOf(subject).reader) });
  expectStatus('/metrics with the scope', answer, 200);
  return answer.text
    .split('\n')
    .filter((line) => line.startsWith('upstream_attempts_total'))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function eventually(failure: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + countedMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(failure);
    // A read of /metrics counts against 10 a minute.
    await sleep(1_000);
  }
}
