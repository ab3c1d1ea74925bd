import { conditionCharsMax, conditionCostNsMax } from '../../base/limits.ts';
import type { Facts } from '../facts.ts';
import type { ConditionFailure } from '../rules.ts';
import { Checker } from './check.ts';
import { ns } from './cost.ts';
import { noBool, type Node } from './node.ts';
import { type Problem, ProblemAt } from './problem.ts';
import { readSyntax } from './syntax.ts';
import { agree, bool, describe } from './types.ts';
import { Failure } from './values.ts';

/** A condition that was checked: it can be evaluated any number of times, and never throws. */
export interface Condition {
  readonly text: string;
  /** What one evaluation costs at worst, in nanoseconds of the machine of docs/benchmarks/policy.md. */
  readonly costNs: number;
  /** What making its patterns took (policy/cel/pattern.ts). */
  readonly patternSteps: number;
  evaluate(this: void, facts: Facts): boolean | ConditionFailure;
}

export type Compilation = { readonly condition: Condition } | { readonly problem: Problem };

/**
 * Parses, type-checks and prices a condition in the subset of CEL that docs/policy-conditions.md describes. The parser is the library's;
 * its own checker knows only literals and names, and its evaluator's time and memory are the caller's choice (decision 0020).
 * Takes milliseconds: done when a document is saved or loaded.
 */
export function compileCondition(text: string): Compilation {
  try {
    return { condition: compile(text) };
  } catch (error) {
    if (error instanceof ProblemAt) return { problem: problemOf(error, text) };
    throw error;
  }
}

function compile(text: string): Condition {
  if (text.length > conditionCharsMax)
    throw new ProblemAt(
      'too_long',
      conditionCharsMax,
      `A condition has at most ${conditionCharsMax} characters; make two rules of it.`,
    );
  const { node, patternSteps } = check(text);
  if (!agree(node.type, bool))
    throw new ProblemAt('wrong_type', 0, `A condition is true or false; this one is of type ${describe(node.type)}.`);
  const costNs = Math.ceil(ns.rule + node.costNs.max);
  if (costNs > conditionCostNsMax) throw tooCostly(costNs);
  const { run } = node;
  return {
    text,
    costNs,
    patternSteps,
    evaluate: (facts) => {
      const value = run({ facts, item: null });
      if (typeof value === 'boolean') return value;
      return value instanceof Failure ? value : noBool;
    },
  };
}

function tooCostly(costNs: number): ProblemAt {
  const us = (each: number) => Math.ceil(each / 1000).toLocaleString('en-US');
  return new ProblemAt(
    'too_costly',
    0,
    `On the longest arguments this condition takes ${us(costNs)} µs, and one may take ${us(conditionCostNsMax)}: ` +
      'search for texts that are written out, and do less for each entry of a list.',
  );
}

function check(text: string): { readonly node: Node; readonly patternSteps: number } {
  const { expr, sourceInfo } = readSyntax(text);
  if (sourceInfo === undefined) throw new ProblemAt('syntax', 0, 'The condition is empty.');
  const checker = new Checker(sourceInfo);
  const node = checker.check(expr);
  return { node, patternSteps: checker.patternStepsTaken };
}

function problemOf({ code, message, offset }: ProblemAt, text: string): Problem {
  // The parser points at the blank before what it means.
  const blanks = /^\s*/.exec(text.slice(offset))?.[0].length ?? 0;
  const lines = text.slice(0, offset + blanks).split('\n');
  return { code, message, line: lines.length, column: (lines.at(-1) ?? '').length + 1 };
}
