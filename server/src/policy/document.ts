import { createHash } from 'node:crypto';
import { canonicalJson, type JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import {
  approvalExpiryMaxS,
  approvalExpiryMinS,
  approversMax,
  nameCharsMax,
  policyCapsMax,
  policyCostNsMax,
  policyDocumentBytesMax,
  policyRulesMax,
  quorumMax,
} from '../base/limits.ts';
import { checkLine, checkName, invalid } from '../identity/input.ts';
import { isScope, type Scope } from '../identity/scopes.ts';
import { type CompiledPolicy, compilePolicy } from './compiled-policy.ts';
import { type Action, actions } from './facts.ts';
import type { Effect, RuleMode } from './rules.ts';

/** A rule as people write it. */
export interface Rule {
  readonly name: string;
  readonly actions: readonly Action[];
  /** CEL; empty matches always. */
  readonly condition: string;
  readonly effect: Effect;
  readonly mode: RuleMode;
}

/**
 * A cap as documents keep it: a budget, which is another folder's matter (budget/policy-caps.ts). Here it has a name, and is
 * compared by what it says.
 */
export type CapJson = Readonly<Record<string, JsonValue>> & { readonly name: string };

/** What agents may do (decision 0020). */
export interface PolicyDocument {
  readonly rules: readonly Rule[];
  readonly caps: readonly CapJson[];
  /** Scopes whose writes must be signed. */
  readonly signedScopes: readonly Scope[];
}

/** A document as it is stored, and as its digest is of. */
export interface DocumentJson {
  readonly [part: string]: JsonValue;
  readonly rules: readonly JsonValue[];
  readonly caps: readonly CapJson[];
  readonly signed_scopes: readonly Scope[];
}

export const emptyDocument: PolicyDocument = { rules: [], caps: [], signedScopes: [] };

/** A document that may be saved, and its rules, ready to judge. */
export interface CheckedDocument {
  readonly document: PolicyDocument;
  readonly policy: CompiledPolicy;
}

/**
 * A document within its bounds, with names as they are stored, and compiled.
 * @throws PortcullisError invalid_argument, naming the field; for a condition with the line and column of what is wrong
 */
export async function checkDocument({ rules, caps, signedScopes }: PolicyDocument): Promise<CheckedDocument> {
  if (rules.length > policyRulesMax) throw invalid('document.rules', `A document has ${policyRulesMax} rules at most.`);
  if (caps.length > policyCapsMax) throw invalid('document.caps', `A document has ${policyCapsMax} caps at most.`);
  const checked = {
    rules: rules.map((rule, at) => checkRule(rule, `document.rules[${at}]`)),
    caps,
    signedScopes: [...new Set(signedScopes)].toSorted(),
  };
  requireLasting(checked.signedScopes);
  requireUnique('rule', checked.rules);
  requireUnique('cap', caps);
  const bytes = Buffer.byteLength(canonicalJson(documentToJson(checked)));
  if (bytes > policyDocumentBytesMax) {
    throw invalid('document', `The document has ${bytes} bytes; ${policyDocumentBytesMax} is the most.`);
  }
  const policy = await compilePolicy(checked);
  if (policy.costNs > policyCostNsMax) {
    throw invalid(
      'document.rules',
      `All conditions together may take ${policy.costNs / 1e6} ms for one call, and ${policyCostNsMax / 1e6} ms is the most: simplify some.`,
    );
  }
  return { document: checked, policy };
}

export function documentToJson({ rules, caps, signedScopes }: PolicyDocument): DocumentJson {
  return { rules: rules.map(ruleToJson), caps, signed_scopes: signedScopes };
}

/** SHA-256 of the canonical form. */
export function documentDigest(document: PolicyDocument): Buffer {
  return createHash('sha256')
    .update(canonicalJson(documentToJson(document)))
    .digest();
}

/**
 * The document that `documentToJson` wrote.
 * @throws PortcullisError invalid_argument for what it did not write: a newer release may have
 */
export function documentFromJson(json: unknown): PolicyDocument {
  const { rules, caps, signed_scopes: signed } = record(json);
  return {
    rules: list(rules).map(ruleFromJson),
    caps: list(caps).map((cap) => ({ ...(record(cap) as Record<string, JsonValue>), name: text(record(cap)['name']) })),
    signedScopes: list(signed).map((scope) => {
      const name = text(scope);
      if (!isScope(name)) throw unreadable(`the scope "${name}"`);
      return name;
    }),
  };
}

/** The stored document, or null where a newer release wrote what this one does not know. */
export function readableDocument(json: unknown): PolicyDocument | null {
  try {
    return documentFromJson(json);
  } catch (error) {
    if (error instanceof PortcullisError) return null;
    throw error;
  }
}

/** The scopes that a stored document names, whatever else is in it. */
export function signedScopesIn(json: unknown): readonly Scope[] {
  const { signed_scopes: names } = record(json);
  return Array.isArray(names) ? names.filter((name): name is Scope => typeof name === 'string' && isScope(name)) : [];
}

function ruleToJson({ name, actions: judged, condition, effect, mode }: Rule): JsonValue {
  const { kind } = effect;
  const rule = { name, actions: judged, condition, effect: kind, mode };
  if (kind !== 'require_approval') return rule;
  const { approvers, quorum, expiryS } = effect;
  return { ...rule, approval: { approvers, quorum, expiry_s: expiryS } };
}

function ruleFromJson(json: unknown): Rule {
  const { name, actions: judged, condition, effect, mode, approval } = record(json);
  return {
    name: text(name),
    actions: list(judged).map((action) => word(actions, action)),
    condition: text(condition),
    effect: effectFromJson(word(['allow', 'deny', 'require_approval'] as const, effect), approval),
    mode: word(['enforce', 'shadow'] as const, mode),
  };
}

function effectFromJson(kind: Effect['kind'], approval: unknown): Effect {
  if (kind !== 'require_approval') return { kind };
  const { approvers, quorum, expiry_s: expiryS } = record(approval);
  return { kind, approvers: list(approvers).map(text), quorum: count(quorum), expiryS: count(expiryS) };
}

function checkRule(rule: Rule, param: string): Rule {
  const { effect } = rule;
  if (rule.actions.length === 0) {
    throw invalid(`${param}.actions`, `A rule must name what it judges, of ${actions.join(', ')}.`);
  }
  if (!rule.condition.isWellFormed() || rule.condition.includes('\0')) {
    throw invalid(`${param}.condition`, 'A condition must be Unicode text without zero bytes.');
  }
  if (effect.kind === 'require_approval') checkApproval(effect, `${param}.approval`);
  return { ...rule, name: checkName(rule.name), actions: [...new Set(rule.actions)].toSorted() };
}

function checkApproval(
  { approvers, quorum, expiryS }: Extract<Effect, { kind: 'require_approval' }>,
  param: string,
): void {
  if (approvers.length === 0 || approvers.length > approversMax) {
    throw invalid(`${param}.approvers`, `A rule that asks for an approval names 1 to ${approversMax} approvers.`);
  }
  for (const approver of approvers) checkLine(`${param}.approvers`, approver, 1, nameCharsMax);
  if (!Number.isInteger(quorum) || quorum < 1 || quorum > quorumMax) {
    throw invalid(`${param}.quorum`, `quorum must be a whole number from 1 to ${quorumMax}.`);
  }
  if (!Number.isInteger(expiryS) || expiryS < approvalExpiryMinS || expiryS > approvalExpiryMaxS) {
    throw invalid(`${param}.expiry`, `expiry must be from ${approvalExpiryMinS} s to ${approvalExpiryMaxS} s.`);
  }
}

// Without them the demand for signatures could be taken back, or a key for signatures registered, by whoever has a key alone.
const demandsOnItself = ['keys:write', 'policy:write'] as const;

function requireLasting(signedScopes: readonly Scope[]): void {
  const missing = demandsOnItself.filter((scope) => !signedScopes.includes(scope));
  if (signedScopes.length === 0 || missing.length === 0) return;
  throw invalid(
    'document.signed_scopes',
    `signed_scopes must have ${missing.join(' and ')} too: else who holds a stolen key alone could take the demand for signatures back, or register what signs.`,
  );
}

function requireUnique(kind: 'rule' | 'cap', named: readonly { readonly name: string }[]): void {
  const seen = new Set<string>();
  for (const { name } of named) {
    if (seen.has(name)) throw invalid(`document.${kind}s`, `The document has two ${kind}s named "${name}".`);
    seen.add(name);
  }
}

function unreadable(what: string): Error {
  return invalid('document', `The stored document has ${what}, which this server does not know: update it.`);
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw unreadable('no object where one is expected');
}

function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw unreadable('no list where one is expected');
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw unreadable('no text where one is expected');
}

function count(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw unreadable('no whole number where one is expected');
}

function word<T extends string>(words: readonly T[], value: unknown): T {
  const found = words.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw unreadable(`the word ${JSON.stringify(value)}`);
}
