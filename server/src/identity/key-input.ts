import {
  keyCidrsMax,
  keyLifetimeDefaultS,
  keyLifetimeMaxS,
  keyLifetimeMinS,
  keyModelsMax,
  modelNameCharsMax,
} from '../base/limits.ts';
import { parseAddressRange } from '../net/client-address.ts';
import { parseSpiffeId } from './certificates/spiffe-id.ts';
import { checkName, invalid } from './input.ts';
import type { Binding, PrincipalKind } from './model.ts';
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
  /** Whether each of its requests must be signed. */
  readonly requireSignature?: boolean;
  /** The client certificate without which it shall not hold. */
  readonly binding?: Binding | null;
  /** Seconds; null never expires. */
  readonly lifetimeS?: number | null;
}

export interface CheckedKey extends Required<NewKey> {
  readonly scopes: readonly Scope[];
  /** When it ends whatever its lifetime, in epoch milliseconds; null: nothing bounds it. */
  readonly endsAt: number | null;
}

/** Checks what can be checked without the database. @throws PortcullisError invalid_argument */
export function checkNewKey(key: NewKey): CheckedKey {
  const checked = {
    projectId: key.projectId,
    name: checkName(key.name),
    kind: key.kind,
    agentId: key.agentId ?? null,
    personId: key.personId ?? null,
    scopes: checkScopes('scopes', key.scopes ?? [], key.kind),
    models: checkList('models', key.models ?? null, keyModelsMax, checkModel),
    cidrs: checkList('cidrs', key.cidrs ?? null, keyCidrsMax, parseAddressRange),
    runId: key.runId ?? null,
    requireSignature: key.requireSignature ?? false,
    binding: checkBinding(key.binding ?? null),
    lifetimeS: key.lifetimeS === undefined ? keyLifetimeDefaultS : key.lifetimeS,
    endsAt: null,
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

/** Scopes for a caller of this kind, sorted. @throws PortcullisError invalid_argument */
export function checkScopes(param: string, names: readonly string[], kind: PrincipalKind): Scope[] {
  const found = new Set<Scope>();
  for (const name of names) {
    if (!isScope(name)) throw invalid(param, `"${name}" is not a scope; the scopes are ${allScopes.join(', ')}.`);
    if (kind === 'agent' && scopesNotForAgents.has(name)) {
      throw invalid(param, `An agent cannot hold ${name}: give it to a person's key.`);
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

// An unpadded SHA-256 has 43 characters, of which the last carries 4 bits: another spelling would match nothing.
const thumbprintPattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

function checkBinding(binding: Binding | null): Binding | null {
  if (binding === null) return null;
  if (binding.by === 'spiffe_id' && parseSpiffeId(binding.value) === null) {
    throw invalid('bound_spiffe_id', 'bound_spiffe_id must be a SPIFFE id like spiffe://example.org/agent/builder.');
  }
  if (binding.by === 'x5t#S256' && !thumbprintPattern.test(binding.value)) {
    throw invalid(
      'bound_x5t_s256',
      "bound_x5t_s256 must be the SHA-256 of the certificate's DER in base64url: 43 characters without padding.",
    );
  }
  return { by: binding.by, value: binding.value };
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
