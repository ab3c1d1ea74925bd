import { setTimeout as sleep } from 'node:timers/promises';
import { readLedger } from './books.ts';
import { type CallPlan, type Door, callOf, modelName } from './calls.ts';
import { type Unit, makeBudget } from './cast.ts';
import type { Durability } from './evidence.ts';
import type { Finding } from './finding.ts';
import type { Load, Made } from './load.ts';
import { type Standing, standings } from './samples.ts';
import type { Stage } from './stage.ts';

interface Burst {
  readonly unit: Exclude<Unit, 'CONCURRENT_REQUESTS'>;
  readonly calls: number;
  /** How many calls the budget has room for. */
  readonly room: bigint;
}

interface Outcome extends Burst {
  readonly cost: bigint;
  readonly admitted: bigint;
  readonly refused: number;
  /** How the others ended: none should. */
  readonly others: readonly Made[];
  readonly standing: Standing;
  /** Whether a dry-run budget that allows nothing stood beside it. */
  readonly shadowed: boolean;
}

const maxTokens = 50;
const settledMs = 30_000;

/**
 * 2: without faults, so many calls at once through all gateways, each of which costs what is held for it. A budget admits
 * floor(limit / cost) of them, to the last one.
 */
export async function burstsOf(
  stage: Stage,
  load: Load,
  { seed, calls, name, durability }: { seed: number; calls: number; name: string; durability: Durability },
): Promise<Finding> {
  const outcomes: Outcome[] = [];
  for (const unit of ['REQUESTS', 'USD', 'TOKENS'] as const) {
    const burst = { unit, calls, room: BigInt(Math.floor(calls / 5)) };
    outcomes.push(await oneBurst(stage, load, burst, seed, `${name}-${unit.toLowerCase()}`));
  }
  const violations = outcomes.flatMap((outcome) => judge(outcome, durability));
  const told = outcomes.map(({ unit, calls: made, admitted, room, cost }) => {
    const early = room - admitted;
    return `${admitted} of ${made} admitted on ${room} x ${cost} ${unit}${early > 0n ? ` (${early} refused early)` : ''}`;
  });
  return {
    invariant: `2. admitted = floor(limit / cost) for equal costs${durability === 'strict' ? '' : ', but for the slices that others lease'}`,
    counts: told.join('; '),
    violations,
  };
}

async function oneBurst(stage: Stage, load: Load, burst: Burst, seed: number, name: string): Promise<Outcome> {
  const [replica] = stage.replicas;
  if (!replica) throw new Error('there is no gateway');
  const { gate } = replica;
  const { agentId, secret } = await gate.agent(name);
  const selector = { agentId };
  const lifetime = { window: 'LIFETIME', selector, limit: 0n } as const;
  // A budget that allows nothing and refuses nobody tells what is asked of it: the declared worst case.
  const probes = [
    await makeBudget(gate, { ...lifetime, name: `${name} probe usd`, unit: 'USD', dryRun: true }),
    await makeBudget(gate, { ...lifetime, name: `${name} probe tokens`, unit: 'TOKENS', dryRun: true }),
  ];
  // One dialect and one way of answering where costs must be equal; all of them where requests are counted.
  const plain = { agent: 0, run: null, stream: false, maxTokens, thinkMs: 0, leaveAfterMs: null, idempotent: false };
  const model = modelName('claude', name);
  const plans = Array.from({ length: burst.calls }, (_, i): CallPlan => {
    const { door, stream } = callOf(seed, i, 0);
    const mixed = { door, stream, model: modelName(providerOf[door], 'plain') };
    return {
      ...plain,
      ...(burst.unit === 'REQUESTS' ? mixed : { door: 'anthropic', model }),
      number: i,
      gate: i % stage.replicas.length,
    };
  });
  const make = (plan: CallPlan, label: string) =>
    load.call(plan, { replica: stage.replicas[plan.gate] ?? replica, gate: plan.gate, secret, runId: null, label });
  // As long as the labels of the burst, since a body is bounded by its length.
  await make({ ...plain, door: 'anthropic', model, number: 0, gate: 0 }, `call ${name}.000`);
  const worst = await declaredWorst(
    stage,
    agentId,
    probes.map(({ id }) => id),
  );
  const cost = { USD: worst.usd, TOKENS: worst.tokens, REQUESTS: 1n }[burst.unit];
  await stage.mock.script({
    model,
    tokens: maxTokens,
    usage: { input: Number(worst.tokens) - maxTokens, output: maxTokens },
  });
  const shadowed = burst.unit === 'REQUESTS';
  if (!shadowed) for (const { id } of probes) await gate.api('BudgetService/DeleteBudget', { budgetId: id });
  const budget = await makeBudget(gate, { ...lifetime, name, unit: burst.unit, limit: burst.room * cost + cost - 1n });
  await everywhere(stage);
  const made = await Promise.all(plans.map((plan, i) => make(plan, `call ${name}.${String(i).padStart(3, '0')}`)));
  const isRefused = ({ refusal }: Made) => refusal?.rule === name;
  const isAdmitted = ({ status, whole }: Made) => status === 200 && whole;
  return {
    ...burst,
    cost,
    shadowed,
    refused: made.filter(isRefused).length,
    admitted: BigInt(made.filter(isAdmitted).length),
    others: made.filter((call) => !isRefused(call) && !isAdmitted(call)),
    standing: await settled(stage, budget.id),
  };
}

const providerOf: Readonly<Record<Door, 'claude' | 'gpt' | 'resp'>> = {
  anthropic: 'claude',
  chat: 'gpt',
  responses: 'resp',
};

function judge(
  { unit, calls, room, cost, admitted, refused, others, standing, shadowed }: Outcome,
  durability: Durability,
): string[] {
  const limit = standing.limit ?? 0n;
  const beside = shadowed ? ', beside a dry-run budget that allows nothing' : '';
  const what = `${calls} calls at ${cost} ${unit} each on a limit of ${limit}${beside}`;
  // At most 1 % of the limit is leased, or one worst case where that is more.
  const early = durability === 'strict' ? 0n : (limit / 100n > cost ? limit / 100n : cost) / cost + 1n;
  return [
    ...(admitted > room || admitted < room - early ? [`${what}: ${admitted} admitted, not ${room}`] : []),
    ...(others.length > 0
      ? [
          `${what}: ${refused} refusals, and ${others.length} calls ended otherwise, the first ${others[0]?.requestId} with ${others[0]?.status}`,
        ]
      : []),
    ...(standing.posted !== admitted * cost ? [`${what}: ${admitted} admitted and ${standing.posted} posted`] : []),
    ...(standing.held !== 0n ? [`${what}: ${standing.held} held afterwards`] : []),
    ...(standing.remaining !== limit - standing.posted
      ? [`${what}: ${standing.remaining} left of ${limit} after ${standing.posted}`]
      : []),
  ];
}

/** What the shadow verdicts of an agent's only call say that it asked for. */
async function declaredWorst(
  { replicas: [replica] }: Stage,
  agentId: string,
  [usdProbe = '', tokensProbe = '']: readonly string[],
): Promise<{ usd: bigint; tokens: bigint }> {
  const row = replica && (await readLedger(replica)).find((each) => each.agentId === agentId);
  const asked = (budgetId: string) => row?.shadowVerdicts?.find((verdict) => verdict.budgetId === budgetId)?.requested;
  const [usd, tokens] = [asked(usdProbe), asked(tokensProbe)];
  if (usd === undefined || tokens === undefined)
    throw new Error('a call has no shadow verdicts of budgets that allow nothing');
  const [whole = '0', fraction = ''] = usd.split('.');
  return { usd: BigInt(whole + fraction.padEnd(9, '0')), tokens: BigInt(tokens) };
}

/** Every gateway knows what was made until now: it answers a change that it made itself only when it has seen all before. */
async function everywhere({ replicas }: Stage): Promise<void> {
  await Promise.all(replicas.map(({ gate }, i) => gate.agent(`herald-${i}-${performance.now()}`)));
}

/** Where a budget stands when nothing is held on it any more. */
async function settled({ replicas: [replica] }: Stage, budgetId: string): Promise<Standing> {
  for (const deadline = performance.now() + settledMs; ; await sleep(100)) {
    const found = replica && (await standings(replica)).find((standing) => standing.budgetId === budgetId);
    if (found && (found.held === 0n || performance.now() > deadline)) return found;
  }
}
