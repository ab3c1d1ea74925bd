import { isDeepStrictEqual } from 'node:util';
import { isLocal, nameFor } from '../provider-urls.ts';
import type { Entries } from '../provider-edit.ts';
import { gateVariables } from '../run/provider-variables.ts';
import type { Bag, Deployment } from './litellm-file.ts';
import { type ImportedKind, importedKinds, splitModel } from './litellm-providers.ts';
import { reasonOf } from './litellm-reasons.ts';
import type { Outcome } from './outcome.ts';
import { perMillion } from './per-token.ts';

/** A target as it is written into a route, but that `model` is always there. */
export interface ImportedTarget extends Entries {
  readonly provider: string;
  readonly model: string;
}

/** Whether the gate knows by itself what a model costs. */
export type HasPrice = (kind: string, model: string) => boolean;

const modes = new Set(['chat', 'completion', 'responses', 'embedding']);

/** Members that say nothing which matters here. */
const silent = new Set(['id', 'mode', 'db_model', 'description', 'litellm_provider']);

const capabilityNames: ReadonlyMap<string, string> = new Map([
  ['max_input_tokens', 'context'],
  ['max_output_tokens', 'max_output'],
  ['supports_vision', 'images'],
  ['supports_pdf_input', 'documents'],
  ['supports_function_calling', 'tools'],
  ['supports_parallel_function_calling', 'parallel_tools'],
  ['supports_response_schema', 'structured_output'],
]);

const priceNames: ReadonlyMap<string, string> = new Map([
  ['input_cost_per_token', 'input'],
  ['output_cost_per_token', 'output'],
  ['cache_read_input_token_cost', 'cache_read'],
  ['cache_creation_input_token_cost', 'cache_write_5m'],
  ['cache_creation_input_token_cost_above_1hr', 'cache_write_1h'],
]);

/** Where what is written into the configuration comes from. */
const writtenParams = ['model', 'api_base', 'base_url'];

const params = new Set(['model', 'api_key', 'api_base', 'base_url', 'weight', 'timeout', ...priceNames.keys()]);

/** Variables that hold a key for one provider, wherever it is. */
const usualVariables = new Set([...importedKinds.values()].flatMap(({ apiKeyEnv }) => apiKeyEnv ?? []));

/** Turns deployments into providers and targets; deployments of one provider with one key share it. */
export class TargetImport {
  readonly #outcome: Outcome;
  readonly #hasPrice: HasPrice;
  readonly #existing: Entries;
  readonly #providers = new Map<string, Entries>();
  /** Variables that stand for something already. */
  readonly #variables: Set<string>;
  readonly #literalKeys = new Map<string, string>();

  /**
   * @param deployments all that there will be
   * @param existing the providers of the file that is added to: their names are taken, and what is the same is used
   */
  constructor(outcome: Outcome, deployments: readonly Deployment[], existing: Entries, hasPrice: HasPrice) {
    this.#outcome = outcome;
    this.#variables = new Set([
      ...gateVariables,
      ...deployments.flatMap(({ params: given }) => keyVariable(given) ?? []),
    ]);
    this.#existing = existing;
    this.#hasPrice = hasPrice;
  }

  /** The providers to add. */
  get providers(): Entries {
    return Object.fromEntries(this.#providers);
  }

  /** @returns null for a deployment that cannot be called here; the outcome says why */
  target(deployment: Deployment): ImportedTarget | null {
    const { at, modelName, params: given, info } = deployment;
    const model = typeof given['model'] === 'string' ? given['model'] : '';
    const { prefix, name } = splitModel(model);
    const kind = prefix === null ? undefined : importedKinds.get(prefix);
    const why = this.#whyNot(deployment, prefix, kind, name);
    if (why !== null || prefix === null || kind === undefined) {
      this.#outcome.leave(`${at} (${modelName})`, why ?? reasonOf('litellm_params'));
      return null;
    }
    const provider = this.#provider(deployment, prefix, kind);
    if (provider === null) return null;
    const price = this.#price(deployment);
    const capabilities = this.#capabilities(info);
    const timeout = milliseconds(given['timeout']);
    const weight = wholeWeight(given['weight']);
    this.#leaveRest(deployment, weight, timeout);
    const isFree = provider.entry['price'] === 'free';
    if (price === undefined && !isFree && !this.#hasPrice(kind.kind, name))
      this.#outcome.remind(
        `No price is known for ${name} at ${provider.name}: its calls are refused until its target has one (price).`,
      );
    this.#outcome.map(`${at} (${modelName})`, `${provider.name}: ${name}`);
    return {
      provider: provider.name,
      model: name,
      ...(weight === undefined ? {} : { weight }),
      ...(price === undefined ? {} : { price }),
      ...(capabilities === undefined ? {} : { capabilities }),
      ...(timeout === undefined ? {} : { timeouts: { total_ms: timeout } }),
    };
  }

  #whyNot(
    { modelName, params: given, info }: Deployment,
    prefix: string | null,
    kind: ImportedKind | undefined,
    name: string,
  ): string | null {
    const mode = info['mode'];
    if (name === '') return 'names no model';
    // LiteLLM takes it as it stands; here it would fetch a secret and send it there.
    if (writtenParams.some((param) => String(given[param]).includes('${')))
      return 'holds "${", in the place of which this gate would put a variable or a file';
    if ([...writtenParams, 'api_key'].some((param) => gateVariables.includes(environmentName(given[param]) ?? '')))
      return 'names a variable that opens this gate itself';
    if (typeof mode === 'string' && !modes.has(mode)) return 'is for an endpoint that this gate has not';
    if (prefix === null) return 'does not say which provider it means: no prefix';
    if (kind === undefined) return `is at a provider that has no kind here (${prefix.slice(0, 40)})`;
    if ((modelName.includes('*') || name.includes('*')) && name !== modelName)
      return 'rewrites the names of a wildcard: here a wildcard keeps the name that was asked for';
    return null;
  }

  #provider(
    { at, params: given, modelName }: Deployment,
    prefix: string,
    kind: ImportedKind,
  ): { readonly name: string; readonly entry: Entries } | null {
    const stated = given['api_base'] ?? given['base_url'];
    const base = stated === undefined || stated === null ? kind.baseUrl : reference(stated);
    const why = whyNotAt(kind, base);
    if (why !== null) {
      this.#outcome.leave(`${at} (${modelName})`, why);
      return null;
    }
    const baseUrl = base === undefined ? undefined : withPath(base, kind);
    const url = baseUrl === undefined ? null : URL.parse(baseUrl);
    const own = baseUrl === undefined || (url !== null && url.hostname === vendorHosts.get(kind.kind));
    // OpenAI's own kind at another address is a server that speaks as it does.
    const isOther = kind.kind === 'openai' && !own;
    const isCompatible = isOther || kind.kind === 'openai-compatible';
    const local = url !== null && isLocal(url);
    const wanted = isOther ? (url === null ? 'openai-compatible' : nameFor(url)) : prefix.replaceAll('_', '-');
    // LiteLLM would send OpenAI's own key there.
    const usual = isOther || (local && isCompatible) ? undefined : kind.apiKeyEnv;
    const apiKey = this.#apiKey(given['api_key'], wanted, usual);
    const entry = {
      kind: isOther ? 'openai-compatible' : kind.kind,
      ...(apiKey === undefined ? {} : { api_key: apiKey }),
      ...(own ? {} : { base_url: baseUrl }),
      ...(local ? { allow_private: true } : {}),
      ...(local && isCompatible ? { price: 'free' } : {}),
    };
    return { name: this.#name(wanted, entry), entry };
  }

  /** The name of a provider that is the same, or the wanted one with a number if it is taken. */
  #name(wanted: string, entry: Entries): string {
    for (let n = 1; ; n++) {
      const name = n === 1 ? wanted : `${wanted}-${n}`;
      const taken =
        this.#providers.get(name) ?? (Object.hasOwn(this.#existing, name) ? this.#existing[name] : undefined);
      if (taken !== undefined && !isDeepStrictEqual(taken, entry)) continue;
      if (taken === undefined) this.#providers.set(name, entry);
      return name;
    }
  }

  /** A reference to the key; never the key. */
  #apiKey(stated: unknown, provider: string, usual: string | undefined): string | undefined {
    if (stated === undefined || stated === null || stated === '')
      return usual === undefined ? undefined : `\${${usual}}`;
    const named = environmentName(stated);
    if (named !== null) return `\${${named}}`;
    const key = JSON.stringify(stated);
    const name = this.#literalKeys.get(key) ?? this.#freeVariable(usual, provider);
    this.#literalKeys.set(key, name);
    this.#outcome.remind(
      `A key for ${provider} is written in that file itself: set ${name} to it where the gate runs.`,
    );
    return `\${${name}}`;
  }

  /** A server whose name is like that of a provider must not get that one's key. */
  #freeVariable(usual: string | undefined, provider: string): string {
    const base = usual ?? `${provider}_API_KEY`.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
    for (let n = 1; ; n++) {
      const name = n === 1 ? base : `${base}_${n}`;
      if (this.#variables.has(name) || (name !== usual && usualVariables.has(name))) continue;
      this.#variables.add(name);
      return name;
    }
  }

  #price({ at, params: given, info }: Deployment): 'free' | Entries | undefined {
    const stated = [...priceNames].flatMap(([theirs, ours]) => {
      const value = given[theirs] ?? info[theirs];
      return value === undefined || value === null ? [] : [[theirs, ours, perMillion(value)] as const];
    });
    if (stated.length === 0) return undefined;
    const price = Object.fromEntries(stated.flatMap(([, ours, usd]) => (usd === null ? [] : [[ours, amount(usd)]])));
    if (stated.some(([, , usd]) => usd === null) || price['input'] === undefined || price['output'] === undefined) {
      const names = stated.map(([theirs]) => theirs).join(', ');
      this.#outcome.leave(`${at}: ${names}`, 'a price has input and output, in USD per token');
      return undefined;
    }
    return Object.values(price).every((usd) => usd === 0) ? 'free' : price;
  }

  #capabilities(info: Bag): Entries | undefined {
    const known = [...capabilityNames].flatMap(([theirs, ours]) => {
      const value = info[theirs];
      const fits = theirs.startsWith('max_')
        ? Number.isInteger(value) && Number(value) > 0
        : typeof value === 'boolean';
      return fits ? [[ours, value] as const] : [];
    });
    return known.length === 0 ? undefined : Object.fromEntries(known);
  }

  #leaveRest({ at, params: given, info, others }: Deployment, weight?: number, timeout?: number): void {
    const strange = Object.keys(given).filter((name) => !params.has(name));
    if (given['weight'] !== undefined && weight === undefined) strange.push('weight');
    if (given['timeout'] !== undefined && timeout === undefined) strange.push('timeout');
    for (const name of strange) this.#outcome.leave(`${at}.litellm_params.${name}`, reasonOf('litellm_params', name));
    for (const name of Object.keys(info))
      if (!silent.has(name) && !capabilityNames.has(name) && !priceNames.has(name))
        this.#outcome.leave(`${at}.model_info.${name}`, reasonOf('model_info', name));
    for (const name of others) this.#outcome.leave(`${at}.${name}`, reasonOf('model_list', name));
  }
}

/** LiteLLM's way to name a variable. */
function environmentName(value: unknown): string | null {
  return typeof value === 'string' ? (/^os\.environ\/([A-Za-z_][A-Za-z0-9_]*)$/.exec(value)?.[1] ?? null) : null;
}

/** The variable that a deployment's key is in: the named one, or where none is stated the one that LiteLLM reads then. */
function keyVariable(given: Bag): string | null | undefined {
  const { api_key: stated, model } = given;
  if (stated !== undefined && stated !== null && stated !== '') return environmentName(stated);
  return typeof model === 'string' ? importedKinds.get(splitModel(model).prefix ?? '')?.apiKeyEnv : null;
}

function reference(value: unknown): string {
  const named = environmentName(value);
  return named === null ? String(value).replace(/\/+$/, '') : `\${${named}}`;
}

/** The addresses that the kinds have by themselves. */
const vendorHosts: ReadonlyMap<string, string> = new Map([
  ['openai', 'api.openai.com'],
  ['gemini', 'generativelanguage.googleapis.com'],
]);

function whyNotAt({ kind }: ImportedKind, base: string | undefined): string | null {
  if (base === undefined ? kind === 'openai-compatible' : !isBaseUrl(base))
    return 'has no api_base that is an http or https URL without a query';
  if (kind === 'gemini' && base !== undefined && URL.parse(base)?.hostname !== vendorHosts.get(kind))
    return "has an api_base that is not Google's own, which is the only one that speaks as it is called here";
  if (kind === 'azure' && base?.includes('/deployments/') === true)
    return 'has an api_base with the path of a deployment: here it ends before /openai';
  return null;
}

function isBaseUrl(text: string): boolean {
  if (/^\$\{\w+\}$/.test(text)) return true;
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.username + url.password === '' && !/[?#]/.test(text);
}

function withPath(base: string, { kind, basePath }: ImportedKind): string {
  if (kind === 'azure') return base.replace(/\/openai(\/v1)?$/, '');
  return basePath === undefined || base.endsWith(basePath) ? base : base + basePath;
}

/** A number where it says the same, so that the file reads well. */
function amount(usd: string): number | string {
  return String(Number(usd)) === usd ? Number(usd) : usd;
}

/** LiteLLM counts in seconds. */
export function milliseconds(seconds: unknown): number | undefined {
  const ms = typeof seconds === 'number' ? Math.round(seconds * 1000) : Number.NaN;
  return ms >= 100 && ms <= 86_400_000 ? ms : undefined;
}

function wholeWeight(weight: unknown): number | undefined {
  return Number.isInteger(weight) && Number(weight) >= 1 && Number(weight) <= 1000 ? Number(weight) : undefined;
}
