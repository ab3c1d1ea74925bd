import type { Clock } from '../../base/clock.ts';
import { PortcullisError } from '../../base/errors.ts';
import type { ProviderType } from '../../budget/model.ts';
import type { PriceBook } from '../../budget/prices/price-book.ts';
import { type Capabilities, fullCapabilities } from '../../llm/capabilities.ts';
import { type Dialect, dialects } from '../../llm/dialect.ts';
import { Breakers } from './breakers.ts';
import type { Provider, ProviderKind } from './provider.ts';
import type { Adapter } from './providers/adapter.ts';
import { createHttpProvider } from './providers/http-provider.ts';
import { adapters } from './providers/registry.ts';
import { createSimProvider } from './providers/sim/provider.ts';
import { RetryBudget } from './retry-budget.ts';
import { type Deadlines, type Route, RouteTable, type Target } from './routing.ts';
import { type ProviderPriceConfig, type TargetPriceConfig, targetPrices } from './target-prices.ts';

/** What the configuration says of a provider. */
export interface ProviderConfig extends ProviderPriceConfig {
  readonly kind: ProviderKind;
  readonly api_key?: string | undefined;
  readonly base_url?: string | undefined;
  readonly allow_private: boolean;
  readonly type?: ProviderType | undefined;
  readonly credential: 'gate' | 'caller';
  readonly dialects?: readonly string[] | undefined;
}

export interface CapabilitiesConfig {
  readonly context?: number | undefined;
  readonly max_output?: number | undefined;
  readonly images?: boolean | undefined;
  readonly documents?: boolean | undefined;
  readonly tools?: boolean | undefined;
  readonly parallel_tools?: boolean | undefined;
  readonly tool_schemas?: Capabilities['toolSchemas'] | undefined;
  readonly structured_output?: boolean | undefined;
  readonly reasoning?: Capabilities['reasoning'] | undefined;
  readonly sampling?: boolean | undefined;
  readonly prompt_caching?: Capabilities['promptCaching'] | undefined;
}

export interface TargetConfig extends TargetPriceConfig {
  readonly provider: string;
  readonly model?: string | undefined;
  readonly weight: number;
  readonly max_output_tokens?: number | undefined;
  readonly capabilities?: CapabilitiesConfig | undefined;
  readonly timeouts?:
    | {
        readonly connect_ms?: number | undefined;
        readonly first_byte_ms?: number | undefined;
        readonly idle_ms?: number | undefined;
        readonly total_ms?: number | undefined;
      }
    | undefined;
}

export interface RouteConfig {
  readonly targets: readonly TargetConfig[];
  readonly lossy: 'refuse' | 'allow';
  readonly trim: 'refuse' | 'oldest_turns';
  readonly max_tokens: 'refuse' | 'clamp';
  readonly on_failure: 'next' | 'refuse';
  readonly attempts_max: number;
  readonly cache_ttl_s?: number | undefined;
}

export interface RoutesConfig {
  readonly providers: Readonly<Record<string, ProviderConfig>>;
  readonly models: Readonly<Record<string, RouteConfig>>;
  readonly priceBook: PriceBook;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
}

export interface Routing {
  readonly table: RouteTable;
  readonly breakers: Breakers;
  /** Names of providers, those without a route included. */
  readonly providers: ReadonlySet<string>;
  /** Ends the connections of these providers, once their calls are over. */
  close(): Promise<void>;
}

/**
 * Makes providers and routes of a configuration. `sim` and `sim-*` lead to the simulated model unless they are taken.
 * What was learned of targets (breakers, retries) begins anew: the operator may just have mended them.
 */
export function createRouting(config: RoutesConfig): Routing {
  const models = { sim: simRoute, 'sim-*': simRoute, ...config.models };
  const providers = new Map<string, Provider>([['sim', createSimProvider('sim')]]);
  for (const [name, entry] of Object.entries(config.providers)) {
    const targets = Object.values(models).flatMap((route) => route.targets.filter(({ provider }) => provider === name));
    providers.set(name, createProvider(name, entry, longestConnectMs(targets, config.deadlines)));
  }
  const breakers = new Breakers(config.clock);
  const routes = Object.entries(models).map(([name, route]): Route => ({
    name,
    lossy: route.lossy,
    trim: route.trim,
    maxTokens: route.max_tokens,
    onFailure: route.on_failure,
    attemptsMax: route.attempts_max,
    retries: new RetryBudget(config.clock),
    cacheTtlS: route.cache_ttl_s ?? null,
    targets: route.targets.map((target) => createTarget(name, target, providers, breakers, config)),
  }));
  return {
    table: new RouteTable(routes),
    breakers,
    providers: new Set(providers.keys()),
    close: async () => {
      await Promise.all([...providers.values()].map((provider) => provider.close()));
    },
  };
}

const simRoute: RouteConfig = {
  targets: [{ provider: 'sim', weight: 1 }],
  lossy: 'refuse',
  trim: 'refuse',
  max_tokens: 'refuse',
  on_failure: 'refuse',
  // What it is told to play is meant for the client to see.
  attempts_max: 1,
};

function createProvider(name: string, entry: ProviderConfig, connectMs: number): Provider {
  if (entry.kind === 'sim') return createSimProvider(name);
  const adapter = adapters[entry.kind];
  return createHttpProvider(adapter, {
    name,
    apiKey: entry.api_key ?? null,
    baseUrl: entry.base_url ?? null,
    allowPrivate: entry.allow_private,
    type: entry.type ?? null,
    dialects: entry.dialects ? spokenDialects(name, adapter, entry.dialects) : adapter.dialects,
    credential: entry.credential,
    connectMs,
  });
}

function spokenDialects(name: string, { paths }: Adapter, wanted: readonly string[]): [Dialect, ...Dialect[]] {
  const spoken = wanted.map((each) => dialects.find((dialect) => dialect === each && paths[dialect] !== undefined));
  const [first, ...others] = spoken.filter((dialect) => dialect !== undefined);
  if (first !== undefined && others.length === wanted.length - 1) return [first, ...others];
  throw new PortcullisError('invalid_argument', `Provider ${name} has a dialect that its kind does not speak.`);
}

function longestConnectMs(targets: readonly TargetConfig[], { connectMs }: Deadlines): number {
  return Math.max(connectMs, ...targets.map(({ timeouts }) => timeouts?.connect_ms ?? 0));
}

function createTarget(
  route: string,
  target: TargetConfig,
  providers: ReadonlyMap<string, Provider>,
  breakers: Breakers,
  config: RoutesConfig,
): Target {
  const provider = providers.get(target.provider);
  if (!provider) throw new Error(`"${target.provider}" is not a provider`);
  const { timeouts } = target;
  return {
    provider,
    model: target.model ?? null,
    weight: target.weight,
    prices: targetPrices(config.priceBook, provider.name, config.providers[provider.name] ?? provider, target),
    capabilities: capabilitiesOf(provider.kind, target),
    deadlines: {
      connectMs: timeouts?.connect_ms ?? config.deadlines.connectMs,
      firstByteMs: timeouts?.first_byte_ms ?? config.deadlines.firstByteMs,
      idleMs: timeouts?.idle_ms ?? config.deadlines.idleMs,
      totalMs: timeouts?.total_ms ?? config.deadlines.totalMs,
    },
    breaker: breakers.forTarget(provider.name, target.model ?? route),
  };
}

function capabilitiesOf(kind: ProviderKind, { capabilities = {}, max_output_tokens }: TargetConfig): Capabilities {
  const usual = usualCapabilities[kind];
  return {
    contextTokens: capabilities.context ?? null,
    maxOutputTokens: capabilities.max_output ?? max_output_tokens ?? null,
    images: capabilities.images ?? usual.images,
    documents: capabilities.documents ?? usual.documents,
    tools: capabilities.tools ?? usual.tools,
    parallelTools: capabilities.parallel_tools ?? usual.parallelTools,
    toolSchemas: capabilities.tool_schemas ?? usual.toolSchemas,
    structuredOutput: capabilities.structured_output ?? usual.structuredOutput,
    reasoning: capabilities.reasoning ?? usual.reasoning,
    sampling: capabilities.sampling ?? usual.sampling,
    promptCaching: capabilities.prompt_caching ?? usual.promptCaching,
  };
}

/** What nobody declared: translation refuses nothing for it, so that the provider decides. */
const usualCapabilities: Readonly<Record<ProviderKind, Capabilities>> = {
  anthropic: { ...fullCapabilities, reasoning: 'budget', promptCaching: 'explicit' },
  openai: fullCapabilities,
  'openai-compatible': fullCapabilities,
  // Google's tools take the schema objects of OpenAPI 3.0, and its OpenAI surface has no documents.
  gemini: { ...fullCapabilities, toolSchemas: 'basic', documents: false },
  azure: fullCapabilities,
  sim: fullCapabilities,
};
