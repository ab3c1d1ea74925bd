import { type Bound, constant, type Extent, ns, scalar } from './cost.ts';
import { agree, dyn, type Type } from './types.ts';
import type { Value } from './values.ts';

/** What the checker knows of an argument. */
export interface Argument {
  readonly type: Type;
  readonly extent: Extent;
}

/** An operator or function of the language. A method sees its receiver as its first argument. */
export interface FunctionSpec {
  /** How the parser names it, and how people write it. */
  readonly name: string;
  readonly written: string;
  readonly shape: 'operator' | 'method' | 'function' | 'method or function';
  readonly arity: 1 | 2 | 3;
  /** What it takes, as it is told to whoever gave something else. */
  readonly takes: string;
  /** The type of its result; undefined where it does not take these types. */
  result(this: void, types: readonly Type[]): Type | undefined;
  /** Without what the arguments cost themselves. */
  costNs(this: void, args: readonly Argument[]): Bound;
  extent(this: void, args: readonly Argument[]): Extent;
  /** Undefined where it does not take these values, which only `dyn` can bring. What it has no argument for is null. */
  apply(this: void, first: Value, second: Value, third: Value): Value | undefined;
}

type Told = 'costNs' | 'extent';

/** A function that costs a call and gives a scalar, unless it says otherwise. */
export function define(spec: Omit<FunctionSpec, Told> & Partial<Pick<FunctionSpec, Told>>): FunctionSpec {
  return { costNs: () => constant(ns.call), extent: () => scalar, ...spec };
}

export type Signature = readonly [result: Type, ...takes: Type[]];

/** The result of the signature that fits; `dyn` where several do that differ in it. */
export function oneOf(...signatures: readonly Signature[]): (types: readonly Type[]) => Type | undefined {
  return (types) => {
    const fitting = signatures.filter(([, ...takes]) =>
      takes.every((type, position) => agree(type, types[position] ?? dyn)),
    );
    const result = fitting[0]?.[0];
    return fitting.every(([other]) => other.kind === result?.kind) ? result : dyn;
  };
}

export function first(args: readonly Argument[]): Argument {
  return args[0] ?? { type: dyn, extent: scalar };
}

export function second(args: readonly Argument[]): Argument {
  return args[1] ?? { type: dyn, extent: scalar };
}
