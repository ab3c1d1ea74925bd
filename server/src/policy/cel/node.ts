import type { Facts } from '../facts.ts';
import { type Bound, constant, type Extent, ns, scalar } from './cost.ts';
import type { Type } from './types.ts';
import { Failure, type Value } from './values.ts';

/** What an expression is evaluated in: the facts, and the item of the loop around it. */
export interface Scope {
  readonly facts: Facts;
  item: Value;
}

export type Run = (scope: Scope) => Value;

/** An expression that was checked. */
export interface Node {
  readonly type: Type;
  readonly extent: Extent;
  readonly costNs: Bound;
  /** What it is, where it is written out. */
  readonly literal?: Value;
  readonly run: Run;
}

export function literalNode(value: Value, type: Type, extent: Extent = scalar): Node {
  return { type, extent, costNs: constant(ns.read), literal: value, run: () => value };
}

/** What stands for a bool and is none. */
export const noBool = new Failure('a value that is neither true nor false stands where one of the two is needed');

/** The failure of a value that is no bool. */
export function failureOf(value: Value): Failure {
  return value instanceof Failure ? value : noBool;
}
