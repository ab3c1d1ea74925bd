import { setImmediate as nextTurn } from 'node:timers/promises';
import { policyCompileTurnMs, policyPatternStepsMax } from '../base/limits.ts';
import { invalid } from '../identity/input.ts';
import type { Condition } from './cel/condition.ts';
import { compileOnce } from './compiled-conditions.ts';
import type { Rule } from './document.ts';
import type { Facts } from './facts.ts';
import { type CompiledRule, indexRules, type RuleIndex } from './rules.ts';

/** Which fields of a resource a condition can read. */
export interface ResourceReads {
  readonly name: boolean;
  readonly provider: boolean;
}

/** The rules of a document, ready to judge. */
export interface CompiledPolicy {
  readonly rules: RuleIndex<Facts>;
  /** By rule: what it does not read it need not be asked again for. */
  readonly reads: ReadonlyMap<string, ResourceReads>;
  /** Whether any of them can tell one resource from another, by name or by provider: only then is each judged by itself. */
  readonly mentionsName: boolean;
  readonly mentionsProvider: boolean;
  /** What one evaluation of each costs at worst, in nanoseconds (policy/cel/condition.ts). */
  readonly costNs: number;
}

/**
 * Compiles the rules of a document, giving way to calls between them: each takes milliseconds.
 * @throws PortcullisError invalid_argument, for a condition that does not hold, with the line and column of what is wrong, and for
 * patterns that take too much together
 */
export async function compilePolicy({ rules }: { readonly rules: readonly Rule[] }): Promise<CompiledPolicy> {
  const compiled: CompiledRule<Facts>[] = [];
  let costNs = 0;
  let patternSteps = 0;
  let turnAt = performance.now();
  for (const [at, rule] of rules.entries()) {
    const condition = compileRule(rule, at);
    costNs += condition.costNs;
    patternSteps += condition.patternSteps;
    if (patternSteps > policyPatternStepsMax) {
      throw invalid(
        `document.rules[${at}].condition`,
        `The patterns of the rules up to "${rule.name}" have too many states together: shorten repetitions such as {20}, anchor them with ^ and $, or use contains().`,
      );
    }
    const { name, actions, effect, mode } = rule;
    compiled.push({ name, actions, effect, mode, evaluate: condition.evaluate });
    if (performance.now() - turnAt < policyCompileTurnMs) continue;
    await nextTurn();
    turnAt = performance.now();
  }
  const reads = new Map(rules.map(({ name, condition }) => [name, readsOf(condition)]));
  return {
    costNs,
    rules: indexRules(compiled),
    reads,
    mentionsName: reads.values().some(({ name }) => name),
    mentionsProvider: reads.values().some(({ provider }) => provider),
  };
}

function compileRule({ name, condition: text }: Rule, at: number): Condition {
  const compilation = compileOnce(text.trim() === '' ? 'true' : text);
  if ('condition' in compilation) return compilation.condition;
  const { message, line, column } = compilation.problem;
  throw invalid(
    `document.rules[${at}].condition`,
    `The condition of rule "${name}" does not hold, line ${line}, column ${column}: ${message}`,
  );
}

/** A word that stands in a text or a comment costs time, no more. */
function readsOf(condition: string): ResourceReads {
  const mayRead = (field: string) => /\bresource\b/.test(condition) && new RegExp(`\\b${field}\\b`).test(condition);
  return { name: mayRead('name'), provider: mayRead('provider') };
}
