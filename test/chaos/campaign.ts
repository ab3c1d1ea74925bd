import { randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import type { TestGate } from '../support/gate.ts';
import { type Booked, audit } from './books.ts';
import { call } from './client.ts';
import { type Fault, type Plan, planOf } from './plan.ts';
import { sides } from './sides.ts';
import type { ChaosUpstream, Watched } from './upstream.ts';
import { type Ending, judge } from './verdict.ts';

export interface CampaignOptions {
  readonly seed: number;
  /** The numbers of the runs: from `first`, so many. */
  readonly first: number;
  readonly runs: number;
  readonly concurrency: number;
  readonly progress?: (done: number, violations: number) => void;
}

export interface Violation {
  /** A seed and a number make the same run again. */
  readonly seed: number;
  readonly run: number;
  readonly pair: string;
  readonly fault: Fault | null;
  readonly what: string;
}

export interface Report {
  readonly runs: number;
  /** How many runs of each pair of dialects and each fault ended in each way. */
  readonly byPair: Readonly<Record<string, number>>;
  readonly byFault: Readonly<Record<string, Readonly<Partial<Record<Ending, number>>>>>;
  readonly attempts: number;
  readonly violations: readonly Violation[];
}

/** Environment of a gate under chaos: short deadlines, and limits that nobody meets. */
export const chaosEnvironment = {
  STREAM_PING_MS: '100',
  RATE_LIMIT_MODELS_PER_MINUTE: '10000000',
  RATE_LIMIT_API_PER_MINUTE: '10000000',
  RATE_LIMIT_ADMIN_PER_MINUTE: '10000000',
};

/** Its configuration: a provider for each dialect, and the deadlines that stalls run into. */
export function chaosConfiguration(upstreamUrl: string): string {
  const price = { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 };
  const timeouts = { first_byte_ms: 1_000, idle_ms: 1_000, total_ms: 20_000 };
  return JSON.stringify({
    providers: Object.fromEntries(
      [...sides].map(([name, { provider }]) => [name, { ...provider(upstreamUrl), allow_private: true, price }]),
    ),
    models: Object.fromEntries(
      [...sides.keys()].map((name) => [`${name}-*`, { targets: [{ provider: name, timeouts }] }]),
    ),
  });
}

const batchSize = 500;

/** Makes the runs, several at a time, and after each batch checks the books. */
export async function campaign(gate: TestGate, upstream: ChaosUpstream, options: CampaignOptions): Promise<Report> {
  const name = `chaos-${randomBytes(4).toString('hex')}`;
  const { secret } = await gate.agent(name);
  const budgetId = await gate.budget({ name, unit: 'USD', limit: 10n ** 15n });
  const agent = new Agent({ keepAlive: true, maxSockets: options.concurrency });
  const tally = new Tally(options);
  try {
    for (let from = 0; from < options.runs; from += batchSize) {
      const size = Math.min(batchSize, options.runs - from);
      let next = options.first + from;
      const end = next + size;
      const booked: Booked[] = [];
      const worker = async () => {
        while (next < end) {
          const plan = planOf(options.seed, next++);
          booked.push(await oneRun({ gate, upstream, secret, agent }, plan, tally));
        }
      };
      await Promise.all(Array.from({ length: options.concurrency }, worker));
      for (const [requestId, what] of await audit(gate.database.pool, budgetId, booked)) {
        tally.violation(planOfRequest(options, requestId), `the books: ${what}`);
      }
    }
  } finally {
    agent.destroy();
  }
  return tally.report();
}

interface Stage {
  readonly gate: TestGate;
  readonly upstream: ChaosUpstream;
  readonly secret: string;
  readonly agent: Agent;
}

async function oneRun({ gate, upstream, secret, agent }: Stage, plan: Plan, tally: Tally): Promise<Booked> {
  const requestId = `chaos-${plan.seed}-${plan.run}`;
  let strike = () => {};
  const struck = new Promise<void>((resolve) => (strike = resolve));
  const watched: Watched = { plan, trigger: strike, attempts: [], performance: null, open: 0 };
  upstream.expect(watched);
  const { received, leave } = call({ url: gate.url, secret, agent }, plan, requestId);
  const killing = struck.then(async () => {
    if (plan.fault === 'client_abort') leave();
    return plan.fault === 'kill_switch' ? await engage(gate, plan.model) : null;
  });
  const got = await received;
  strike();
  let ending: Ending | null = null;
  try {
    ending = judge(plan, got, watched.performance);
  } catch (error) {
    tally.violation(plan, `${(error as Error).message}\n${got.status} ${got.text.slice(-2_000)}`);
  }
  const killId = await killing;
  if (killId !== null) await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killId });
  if (!(await letGo(watched))) tally.violation(plan, 'the upstream is still at work');
  upstream.forget(watched);
  tally.done(plan, ending, watched.attempts.length);
  return { requestId, attempts: watched.attempts, ending };
}

async function engage(gate: TestGate, model: string): Promise<string> {
  const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
    scope: 'KILL_SCOPE_MODEL',
    value: model,
    reason: 'chaos',
  });
  return killSwitch.id;
}

/** An upstream is to be let go of within a second: twice that on a busy machine, and more where its answer has ended. */
const letGoMs = 2_000;
const letGoAfterEndMs = 4_000;

async function letGo(watched: Watched): Promise<boolean> {
  const deadlineMs = performance.now() + (watched.performance?.told === true ? letGoAfterEndMs : letGoMs);
  while (watched.open > 0) {
    if (performance.now() > deadlineMs) return false;
    await new Promise((later) => setTimeout(later, 5));
  }
  return true;
}

function planOfRequest({ seed }: CampaignOptions, requestId: string): Plan | null {
  return requestId === '' ? null : planOf(seed, Number(requestId.split('-').at(-1)));
}

class Tally {
  readonly #options: CampaignOptions;
  readonly #byPair: Record<string, number> = {};
  readonly #byFault: Record<string, Partial<Record<Ending, number>>> = {};
  readonly #violations: Violation[] = [];
  #done = 0;
  #attempts = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
  }

  violation(plan: Plan | null, what: string): void {
    this.#violations.push({
      seed: this.#options.seed,
      run: plan?.run ?? -1,
      pair: plan ? pairOf(plan) : 'all',
      fault: plan?.fault ?? null,
      what,
    });
  }

  done(plan: Plan, ending: Ending | null, attempts: number): void {
    this.#done++;
    this.#attempts += attempts;
    const pair = pairOf(plan);
    this.#byPair[pair] = (this.#byPair[pair] ?? 0) + 1;
    const endings = (this.#byFault[plan.fault] ??= {});
    if (ending !== null) endings[ending] = (endings[ending] ?? 0) + 1;
    this.#options.progress?.(this.#done, this.#violations.length);
  }

  report(): Report {
    return {
      runs: this.#done,
      byPair: this.#byPair,
      byFault: this.#byFault,
      attempts: this.#attempts,
      violations: this.#violations,
    };
  }
}

function pairOf({ dialectIn, dialectOut }: Plan): string {
  return `${dialectIn} -> ${dialectOut}`;
}
