import {
  keyCidrsMax,
  keyLifetimeDefaultS,
  keyLifetimeMaxS,
  keyLifetimeMinS,
  keyModelsMax,
  modelNameCharsMax,
} from '../base/limits.ts';
import { parseAddressRange } from '../net/client-address.ts';
import { checkName, invalid } from './input.ts';
import type { PrincipalKind } from './model.ts';
import { scopesNotForAgents } from './permission.ts';
import { isScope, type Scope, scopes as allScopes } from './scopes.ts';

/** A key to be made. What is left out is the least: no scopes, 90 days. */
export interface NewKey {
  readonly projectId: string;
  readonly name: string;
  readonly kind: PrincipalKind;
  /** Whose key it is: an agent's, or for an operator's or service's key the person who answers for it. */
  readonly agentId?: string | null;
  readonly personId?: string | null;
  readonly scopes?: readonly string[];
  /** Public model names, wildcards allowed; null is any. */
  readonly models?: readonly string[] | null;
  /** Address ranges from which it may be used; null is anywhere. */
  readonly cidrs?: readonly string[] | null;
  /** The one run that its calls belong to. */
  readonly runId?: string | null;
  /** Seconds; null never expires. */
  readonly lifetimeS?: number | null;
}

export interface CheckedKey extends Required<NewKey> {
  readonly scopes: readonly Scope[];
}

/** Checks what can be checked without the database. @throws PortcullisError invalid_argument */
export function checkNewKey(key: NewKey): CheckedKey {
  const checked = {
    projectId: key.projectId,
    name: checkName(key.name),
    kind: key.kind,
    agentId: key.agentId ?? null,
    personId: key.personId ?? null,
    scopes: checkScopes(key.scopes ?? [], key.kind),
    models: checkList('models', key.models ?? null, keyModelsMax, checkModel),
    cidrs: checkList('cidrs', key.cidrs ?? null, keyCidrsMax, parseAddressRange),
    runId: key.runId ?? null,
    lifetimeS: key.lifetimeS === undefined ? keyLifetimeDefaultS : key.lifetimeS,
  };
  if ((checked.kind === 'agent') !== (checked.agentId !== null)) {
    throw invalid('agent_id', 'agent_id belongs to keys of kind agent, and every such key has one.');
  }
  if (checked.kind === 'agent' && checked.personId !== null) {
    throw invalid(
      'person_id',
      "person_id does not belong to an agent's key: the agent itself says who answers for it.",
    );
  }
  if (checked.runId !== null && checked.kind !== 'agent') {
    throw invalid('run_id', "run_id belongs to agents' keys only.");
  }
  checkLifetime(checked.lifetimeS);
  return checked;
}

function checkScopes(names: readonly string[], kind: PrincipalKind): Scope[] {
  const found = new Set<Scope>();
  for (const name of names) {
    if (!isScope(name)) throw invalid('scopes', `"${name}" is not a scope; the scopes are ${allScopes.join(', ')}.`);
    if (kind === 'agent' && scopesNotForAgents.has(name)) {
      throw invalid('scopes', `An agent cannot hold ${name}: give it to a person's key.`);
    }
    found.add(name);
  }
  return [...found].toSorted();
}

function checkList(
  param: string,
  items: readonly string[] | null,
  itemsMax: number,
  check: (item: string) => unknown,
): readonly string[] | null {
  if (items === null) return null;
  if (items.length === 0 || items.length > itemsMax) {
    throw invalid(param, `${param} must have 1 to ${itemsMax} entries, or be left out.`);
  }
  for (const item of items) check(item);
  return items;
}

const modelPattern = new RegExp(String.raw`^[^\s\p{C}]{1,${modelNameCharsMax}}$`, 'u');

function checkModel(name: string): void {
  if (!modelPattern.test(name)) throw invalid('models', `"${name}" is not a model name, such as claude-* or gpt-5.`);
}

function checkLifetime(lifetimeS: number | null): void {
  if (lifetimeS === null) return;
  if (!Number.isInteger(lifetimeS) || lifetimeS < keyLifetimeMinS || lifetimeS > keyLifetimeMaxS) {
    throw invalid(
      'lifetime',
      `The lifetime must be whole seconds from ${keyLifetimeMinS} to ${keyLifetimeMaxS}, or null to never expire.`,
    );
  }
}
