import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { budgetsPerProjectMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import type { Tx } from '../pg/tx.ts';
import { type CheckedBudget, checkConsistent, checkNewBudget, type NewBudget } from './budget-input.ts';
import {
  type BudgetRecord,
  countBudgets,
  findBudgetByName,
  insertBudget,
  markBudgetDeleted,
  selectEndedCaps,
  selectPolicyBudgets,
  updateBudget,
} from './budget-store.ts';
import {
  type Budget,
  budgetModes,
  budgetUnits,
  budgetWindows,
  type BudgetSelector,
  type ProviderType,
  providerTypes,
} from './model.ts';
import { findMissingReference, readSelectorFacts } from './selector-store.ts';

/** A cap of a policy's document: a budget in all but its project and id. */
export type PolicyCap = Omit<NewBudget, 'projectId'>;

/** A cap as documents keep it: amounts are decimal text, and what selects nothing is left out. */
export type CapJson = Readonly<Record<string, JsonValue>> & { readonly name: string };

const selectorNames = {
  teamId: 'team_id',
  personId: 'person_id',
  agentId: 'agent_id',
  keyId: 'key_id',
  workflow: 'workflow',
  runId: 'run_id',
  providerType: 'provider_type',
  provider: 'provider',
  model: 'model',
} as const satisfies Record<keyof BudgetSelector, string>;

/** A cap, checked and with its defaults, as a document keeps it. @throws PortcullisError invalid_argument */
export function capToJson(cap: PolicyCap): CapJson {
  const { name, selector, unit, window, timeZone, limit, mode, notifyPercents } = checkNewBudget({
    ...cap,
    projectId: '',
  });
  const selected = Object.entries(selectorNames).flatMap(([member, column]) => {
    const value = selector[member as keyof BudgetSelector];
    return value === null ? [] : [[column, value]];
  });
  return {
    name,
    selector: Object.fromEntries(selected) as Readonly<Record<string, string>>,
    unit,
    window,
    time_zone: timeZone,
    limit: limit === null ? null : limit.toString(),
    mode,
    notify_percents: [...notifyPercents],
  };
}

/** The cap that `capToJson` wrote. @throws PortcullisError invalid_argument where a newer release wrote what this one does not know */
export function capFromJson(json: CapJson): PolicyCap {
  const selector = isObject(json['selector']) ? json['selector'] : {};
  const { limit, notify_percents: percents } = json;
  const text = (value: JsonValue | undefined) => (typeof value === 'string' ? value : null);
  return {
    name: json.name,
    selector: {
      teamId: text(selector['team_id']),
      personId: text(selector['person_id']),
      agentId: text(selector['agent_id']),
      keyId: text(selector['key_id']),
      workflow: text(selector['workflow']),
      runId: text(selector['run_id']),
      providerType: selector['provider_type'] === undefined ? null : providerType(selector['provider_type']),
      provider: text(selector['provider']),
      model: text(selector['model']),
    },
    unit: wordOf(budgetUnits, json['unit']),
    window: wordOf(budgetWindows, json['window']),
    timeZone: text(json['time_zone']) ?? '',
    limit: typeof limit === 'string' ? BigInt(limit) : null,
    mode: wordOf(budgetModes, json['mode']),
    notifyPercents: Array.isArray(percents) ? percents.filter((percent) => typeof percent === 'number') : [],
  };
}

/**
 * Refuses caps that no call can match, and those whose name a budget has that is not the policy's own.
 * @throws PortcullisError invalid_argument, not_found, conflict
 */
export async function checkCaps(tx: Tx, projectId: string, caps: readonly CapJson[]): Promise<void> {
  const live = new Map((await selectPolicyBudgets(tx, projectId)).map((budget) => [budget.name, budget]));
  for (const json of caps) {
    const cap = capFromJson(json);
    const { name, selector } = cap;
    const budget = live.get(name);
    // What it names may be gone since: that must not keep anybody from changing a rule, or from going back.
    if (budget && countsTheSame(checkNewBudget({ ...cap, projectId }), budget)) continue;
    const missing = await findMissingReference(tx, projectId, selector);
    if (missing) {
      throw new PortcullisError(
        'not_found',
        `The cap "${name}" names the ${missing.kind} ${missing.id.slice(0, 100)}, which is not in this project.`,
      );
    }
    checkConsistent(selector, await readSelectorFacts(tx, selector));
    const other = await findBudgetByName(tx, projectId, name);
    if (other === null || other.managedByPolicy) continue;
    throw new PortcullisError(
      'conflict',
      `There is a budget "${name}" in this project that is no cap of the policy: rename one of both, or end the budget.`,
    );
  }
}

/**
 * Makes, changes and ends budgets so that those that the policy owns are exactly these caps. Where only limit, mode or
 * notices differ the budget stays, and a cap that comes back goes on with what it had counted: nobody gets a new
 * allowance by a change and its rollback.
 * @throws PortcullisError invalid_argument, not_found, conflict
 */
export async function enforceCaps(
  tx: Tx,
  version: bigint,
  { projectId, caps, by }: { readonly projectId: string; readonly caps: readonly CapJson[]; readonly by: Principal },
): Promise<void> {
  await checkCaps(tx, projectId, caps);
  const wanted = new Map(caps.map((json) => [json.name, checkNewBudget({ ...capFromJson(json), projectId })]));
  const kept = new Set<string>();
  // What ends comes first: names are unique among budgets that live.
  for (const budget of await selectPolicyBudgets(tx, projectId)) {
    const cap = wanted.get(budget.name);
    if (cap && countsTheSame(cap, budget)) {
      kept.add(budget.name);
      await updateBudget(tx, version, { ...cap, id: budget.id });
    } else await markBudgetDeleted(tx, version, budget.id);
  }
  const added = [...wanted.values()].filter(({ name }) => !kept.has(name));
  if ((await countBudgets(tx, projectId)) + added.length > budgetsPerProjectMax) {
    throw new PortcullisError('conflict', `A project has at most ${budgetsPerProjectMax} budgets: end one first.`);
  }
  for (const cap of added) {
    const ended = await selectEndedCaps(tx, projectId, cap.name);
    const same = ended.find((budget) => countsTheSame(cap, budget));
    if (same) await updateBudget(tx, version, { ...cap, id: same.id });
    else await insertBudget(tx, version, { ...cap, id: newId('bud'), managedByPolicy: true, createdBy: by.id });
  }
}

function countsTheSame(cap: CheckedBudget, budget: BudgetRecord): boolean {
  const identity = ({ unit, window, timeZone, selector }: Omit<Budget, 'id'>) =>
    JSON.stringify([
      unit,
      window,
      timeZone,
      Object.keys(selectorNames).map((m) => selector[m as keyof BudgetSelector]),
    ]);
  return identity(cap) === identity(budget);
}

function providerType(value: JsonValue): ProviderType {
  return wordOf(providerTypes, value);
}

function wordOf<T extends string>(words: readonly T[], value: JsonValue | undefined): T {
  const word = words.find((candidate) => candidate === value);
  if (word !== undefined) return word;
  throw new PortcullisError(
    'invalid_argument',
    `A cap of this policy has the word ${JSON.stringify(value)}, which this server does not know: update it.`,
  );
}

function isObject(value: JsonValue | undefined): value is { readonly [name: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
