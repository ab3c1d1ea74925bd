import { attemptsMax } from '../../base/limits.ts';
import type { Entries } from '../provider-edit.ts';
import { importBudgets } from './litellm-budgets.ts';
import type { Bag, LiteLlmFile } from './litellm-file.ts';
import { reasonOf } from './litellm-reasons.ts';
import { type HasPrice, type ImportedTarget, milliseconds, TargetImport } from './litellm-targets.ts';
import { Outcome } from './outcome.ts';

export interface Imported {
  readonly outcome: Outcome;
  readonly providers: Entries;
  readonly models: Readonly<Record<string, Entries>>;
}

const targetsMax = 16;

/** What is read of each section; everything else is left, and said so. */
const readMembers: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  [
    'litellm_settings',
    new Set([
      'drop_params',
      'num_retries',
      'request_timeout',
      'fallbacks',
      'default_fallbacks',
      'max_budget',
      'budget_duration',
    ]),
  ],
  [
    'router_settings',
    new Set([
      'num_retries',
      'timeout',
      'fallbacks',
      'default_fallbacks',
      'model_group_alias',
      'provider_budget_config',
    ]),
  ],
  ['general_settings', new Set()],
]);

/**
 * What LiteLLM's file means here.
 * @param existing the providers of the file that it is added to
 */
export function importLiteLlm(file: LiteLlmFile, existing: Entries, hasPrice: HasPrice): Imported {
  const outcome = new Outcome();
  const targets = new TargetImport(outcome, file.deployments, existing, hasPrice);
  const { litellm_settings: settings = {}, router_settings: router = {} } = file.sections;
  const groups = new Map<string, ImportedTarget[]>();
  for (const deployment of file.deployments) {
    const target = targets.target(deployment);
    const { modelName } = deployment;
    if (target === null) continue;
    if (!isModelName(modelName))
      outcome.leave(deployment.at, 'a model name has no spaces, at most one * and nothing to be replaced');
    else groups.set(modelName, [...(groups.get(modelName) ?? []), target]);
  }
  const fallbacks = readFallbacks(outcome, settings, router, groups);
  const aliases = readAliases(outcome, router, groups);
  const options = routeOptions(outcome, settings, router);
  const timeoutMs = milliseconds(settings['request_timeout'] ?? router['timeout']);
  const models = new Map<string, Entries>();
  for (const [name, own] of groups) {
    const standby = (fallbacks.get(name) ?? fallbacks.get('*') ?? [])
      .filter((other) => other !== name)
      .flatMap((other) => groups.get(other) ?? [])
      .map((target) => ({ ...target, weight: 0 }));
    const all = [...own, ...standby];
    if (all.length > targetsMax) outcome.leave(`model_list (${name})`, `a route has at most ${targetsMax} targets`);
    const timed = all.slice(0, targetsMax).map((target) => withTimeout(target, timeoutMs));
    for (const route of [name, ...(aliases.get(name) ?? [])])
      models.set(route, { targets: timed.map((target) => written(target, route)), ...options });
  }
  importBudgets(outcome, settings, router);
  leaveSections(outcome, file.sections);
  return { outcome, providers: targets.providers, models: Object.fromEntries(models) };
}

/** A target without a model keeps the name that was asked for: that of its route. */
function written({ model, ...target }: ImportedTarget, route: string): Entries {
  const { provider, ...rest } = target;
  return { provider, ...(model === route ? {} : { model }), ...rest };
}

function isModelName(name: string): boolean {
  return name.length <= 200 && /^[^\s*]*\*?[^\s*]*$/.test(name) && !name.includes('${');
}

function withTimeout(target: ImportedTarget, timeoutMs: number | undefined): ImportedTarget {
  return timeoutMs === undefined || target['timeouts'] !== undefined
    ? target
    : { ...target, timeouts: { total_ms: timeoutMs } };
}

/** What all routes get. */
function routeOptions(outcome: Outcome, settings: Bag, router: Bag): Entries {
  const [retriesAt, retries] =
    router['num_retries'] === undefined
      ? ['litellm_settings.num_retries', settings['num_retries']]
      : ['router_settings.num_retries', router['num_retries']];
  const attempts =
    Number.isInteger(retries) && Number(retries) >= 0 ? Math.min(Number(retries) + 1, attemptsMax) : null;
  if (attempts !== null) outcome.map(retriesAt, `attempts_max: ${attempts} of every route`);
  const lossy = settings['drop_params'] === true;
  if (lossy) outcome.map('litellm_settings.drop_params', 'lossy: allow of every route');
  return { ...(lossy ? { lossy: 'allow' } : {}), ...(attempts === null ? {} : { attempts_max: attempts }) };
}

/** Which groups stand in for which, by name; `*` for every group without its own. */
function readFallbacks(
  outcome: Outcome,
  settings: Bag,
  router: Bag,
  groups: ReadonlyMap<string, unknown>,
): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const [section, bag] of [
    ['litellm_settings', settings],
    ['router_settings', router],
  ] as const) {
    const lists = Array.isArray(bag['fallbacks']) ? (bag['fallbacks'] as unknown[]) : [];
    const given = lists.flatMap((item) => (typeof item === 'object' && item !== null ? Object.entries(item) : []));
    if (Array.isArray(bag['default_fallbacks'])) given.push(['*', bag['default_fallbacks']]);
    for (const [name, others] of given) {
      const at = `${section}.fallbacks (${name})`;
      const known = Array.isArray(others) ? others.map(String).filter((other) => isOneModel(other, groups)) : [];
      if (!Array.isArray(others) || known.length < others.length || (name !== '*' && !groups.has(name)))
        outcome.leave(at, 'names a model that was not mapped');
      if (known.length === 0) continue;
      found.set(name, known);
      outcome.map(at, `standby targets (weight 0): ${known.join(', ')}`);
    }
  }
  return found;
}

/** Other public names of a group, by the group. */
function readAliases(outcome: Outcome, router: Bag, groups: ReadonlyMap<string, unknown>): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const aliases = router['model_group_alias'];
  if (typeof aliases !== 'object' || aliases === null) return found;
  for (const [alias, value] of Object.entries(aliases as Bag)) {
    const model = typeof value === 'object' && value !== null ? (value as Bag)['model'] : value;
    const at = `router_settings.model_group_alias (${alias})`;
    if (typeof model !== 'string' || !isOneModel(model, groups) || groups.has(alias) || !isModelName(alias)) {
      outcome.leave(at, 'names a model that was not mapped, or one that has targets of its own');
      continue;
    }
    outcome.map(at, `a route with the targets of ${model}`);
    found.set(model, [...(found.get(model) ?? []), alias]);
  }
  return found;
}

/** A wildcard keeps the name that was asked for, so that under another name it would ask for the wrong one. */
function isOneModel(name: string, groups: ReadonlyMap<string, unknown>): boolean {
  return groups.has(name) && !name.includes('*');
}

function leaveSections(outcome: Outcome, sections: LiteLlmFile['sections']): void {
  for (const [section, bag] of Object.entries(sections)) {
    const read = readMembers.get(section);
    if (read === undefined) outcome.leave(section, reasonOf(section));
    else
      for (const name of Object.keys(bag))
        if (!read.has(name)) outcome.leave(`${section}.${name}`, reasonOf(section, name));
  }
}
