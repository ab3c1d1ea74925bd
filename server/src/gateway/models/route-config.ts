import type { ProviderType } from '../../budget/model.ts';
import { type DeclaredPrice, declaredPrice } from '../../budget/price-book.ts';
import type { Provider, ProviderKind } from './provider.ts';
import { createHttpProvider } from './providers/http-provider.ts';
import { adapters } from './providers/registry.ts';
import { createSimProvider } from './providers/sim/provider.ts';
import { type Deadlines, type Route, RouteTable, type Target } from './routing.ts';

/** What the configuration says of a provider. */
export interface ProviderConfig {
  readonly kind: ProviderKind;
  readonly api_key?: string | undefined;
  readonly base_url?: string | undefined;
  readonly allow_private: boolean;
  readonly type?: ProviderType | undefined;
  readonly price?: DeclaredPrice | undefined;
}

export interface TargetConfig {
  readonly provider: string;
  readonly model?: string | undefined;
  readonly weight: number;
  readonly max_output_tokens?: number | undefined;
  readonly price?: DeclaredPrice | undefined;
  readonly timeouts?:
    | {
        readonly first_byte_ms?: number | undefined;
        readonly idle_ms?: number | undefined;
        readonly total_ms?: number | undefined;
      }
    | undefined;
}

export interface RoutesConfig {
  readonly providers: Readonly<Record<string, ProviderConfig>>;
  readonly models: Readonly<
    Record<string, { readonly targets: readonly TargetConfig[]; readonly lossy: 'refuse' | 'allow' }>
  >;
  readonly deadlines: Deadlines;
  readonly connectMs: number;
}

export interface Routing {
  readonly table: RouteTable;
  /** Ends the connections of these providers, once their calls are over. */
  close(): Promise<void>;
}

/** Makes providers and routes of a configuration. `sim` and `sim-*` lead to the simulated model unless they are taken. */
export function createRouting(config: RoutesConfig): Routing {
  const providers = new Map<string, Provider>([['sim', createSimProvider('sim')]]);
  for (const [name, entry] of Object.entries(config.providers))
    providers.set(name, createProvider(name, entry, config.connectMs));
  const models = { sim: simRoute, 'sim-*': simRoute, ...config.models };
  const routes = Object.entries(models).map(([name, route]): Route => ({
    name,
    lossy: route.lossy,
    targets: route.targets.map((target) => createTarget(target, providers, config)),
  }));
  return {
    table: new RouteTable(routes),
    close: async () => {
      await Promise.all([...providers.values()].map((provider) => provider.close()));
    },
  };
}

const simRoute = { targets: [{ provider: 'sim', weight: 1 }], lossy: 'refuse' } as const;

function createProvider(name: string, entry: ProviderConfig, connectMs: number): Provider {
  if (entry.kind === 'sim') return createSimProvider(name);
  return createHttpProvider(adapters[entry.kind], {
    name,
    apiKey: entry.api_key ?? null,
    baseUrl: entry.base_url ?? null,
    allowPrivate: entry.allow_private,
    type: entry.type ?? null,
    connectMs,
  });
}

function createTarget(target: TargetConfig, providers: ReadonlyMap<string, Provider>, config: RoutesConfig): Target {
  const provider = providers.get(target.provider);
  if (!provider) throw new Error(`"${target.provider}" is not a provider`);
  const declared =
    target.price ?? config.providers[target.provider]?.price ?? (provider.kind === 'sim' ? 'free' : undefined);
  const { timeouts } = target;
  return {
    provider,
    model: target.model ?? null,
    weight: target.weight,
    price: declared === undefined ? null : declaredPrice(provider.kind, declared),
    maxOutputTokens: target.max_output_tokens ?? null,
    deadlines: {
      firstByteMs: timeouts?.first_byte_ms ?? config.deadlines.firstByteMs,
      idleMs: timeouts?.idle_ms ?? config.deadlines.idleMs,
      totalMs: timeouts?.total_ms ?? config.deadlines.totalMs,
    },
  };
}
