import { Random } from '../random.ts';
import type { ScriptInput } from '../../support/mock-upstream/script.ts';
import { replicaCount } from './plan.ts';

export const agentCount = 5;
export const runsPerAgent = 2;
export const workflows = ['build', 'review'] as const;

/** Nano-USD per token, at every provider. */
export const nanoPerToken = { input: 1_000n, output: 2_000n } as const;

/** The three dialects: the door of the gate, the provider that speaks it, and how a request is spelled. */
export const doors = {
  anthropic: { path: '/v1/messages', provider: 'claude' },
  chat: { path: '/v1/chat/completions', provider: 'gpt' },
  responses: { path: '/v1/responses', provider: 'resp' },
} as const;
export type Door = keyof typeof doors;
const doorNames = ['anthropic', 'chat', 'responses'] as const;
export const providerNames = ['claude', 'gpt', 'resp'] as const;

/** What a provider does, by the second part of the model's name. */
export const behaviours = {
  plain: { tokens: 12 },
  slow: { tokens: 40, tokensPerSecond: 40 },
  late: { tokens: 12, latencyMs: 400 },
  cut: { tokens: 30, cutAfter: 1 },
  broken: { tokens: 30, malformedAt: 1 },
  stalled: { tokens: 30, stallAfter: 1 },
  silent: { never: true },
  reset: { reset: true },
  error: { error: 500 },
  refused: { error: 400 },
  busy: { error: 503 },
  // A provider that reports more than any call of ours can use.
  greedy: { tokens: 40, tokensPerSecond: 200, usage: { input: 4_000 } },
  boundless: { tokens: 40, usage: { output: 3_000 } },
} as const satisfies Record<string, ScriptInput>;
export type Behaviour = keyof typeof behaviours;

const often = ['plain', 'plain', 'slow', 'slow', 'late'] as const;
const seldom = Object.keys(behaviours) as [Behaviour, ...Behaviour[]];

/** A call of the load: all of it decided by the seed and its number. */
export interface CallPlan {
  readonly number: number;
  readonly agent: number;
  /** Null: outside of any run. */
  readonly run: number | null;
  readonly door: Door;
  readonly model: string;
  readonly stream: boolean;
  readonly maxTokens: number;
  readonly gate: number;
  /** How long the client waits before it makes the call. */
  readonly thinkMs: number;
  readonly leaveAfterMs: number | null;
  readonly idempotent: boolean;
}

/** The agent whose budgets have room for everything: in `relaxed` its calls are held on leases. */
export const roomyAgent = agentCount - 1;

/** @param roomy how much of the load is that agent's */
export function callOf(seed: number, number: number, roomy: number): CallPlan {
  const random = Random.of(seed ^ 0x2545f491, number);
  const agent = random.chance(roomy) ? roomyAgent : random.int(0, roomyAgent - 1);
  const behaviour = random.chance(0.7) ? random.pick(often) : random.pick(seldom);
  return {
    number,
    agent,
    run: random.chance(agent === roomyAgent ? 0.3 : 0.6) ? random.int(0, runsPerAgent - 1) : null,
    door: random.pick(doorNames),
    model: modelName(random.pick(providerNames), behaviour),
    stream: random.chance(0.6),
    maxTokens: random.pick([50, 50, 100, 400]),
    gate: random.int(0, replicaCount - 1),
    thinkMs: random.int(0, 1_000),
    leaveAfterMs: random.chance(0.12) ? random.int(1, 900) : null,
    idempotent: random.chance(0.2),
  };
}

export function modelName(provider: (typeof providerNames)[number], behaviour: string): string {
  return `${provider}-${behaviour}`;
}

/** The body of a call; `label` comes to the provider with it. */
export function bodyOf(
  { door, model, stream, maxTokens }: Pick<CallPlan, 'door' | 'model' | 'stream' | 'maxTokens'>,
  label: string,
): string {
  const common = { model, ...(stream && { stream }) };
  if (door === 'responses')
    return JSON.stringify({ ...common, max_output_tokens: maxTokens, store: false, input: label });
  return JSON.stringify({ ...common, max_tokens: maxTokens, messages: [{ role: 'user', content: label }] });
}

/** The gate's configuration: a provider for each dialect, deadlines that a run can wait for, and two more attempts. */
export function configuration(upstreamUrl: string): string {
  const price = { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 };
  const timeouts = { first_byte_ms: 2_000, idle_ms: 1_500, total_ms: 15_000 };
  const openai = { kind: 'openai-compatible', base_url: `${upstreamUrl}/v1`, api_key: 'key-of-the-provider' };
  const providers = {
    claude: { kind: 'anthropic', base_url: upstreamUrl, api_key: 'key-of-the-provider' },
    gpt: openai,
    resp: { ...openai, dialects: ['responses'] },
  };
  return JSON.stringify({
    providers: Object.fromEntries(
      Object.entries(providers).map(([name, provider]) => [name, { ...provider, allow_private: true, price }]),
    ),
    models: Object.fromEntries(
      providerNames.map((provider) => [`${provider}-*`, { targets: [{ provider, timeouts }], attempts_max: 3 }]),
    ),
  });
}
