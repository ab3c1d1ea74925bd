import { type Bound, constant, type Extent, ns, overLoop, scalar, sum, valueSize } from './cost.ts';
import { failureOf, type Node, type Scope } from './node.ts';
import { agree, bool, dyn, list, string, type Type } from './types.ts';
import { Failure, isList, isMap, type Value } from './values.ts';

export const loopNames = ['all', 'exists', 'exists_one', 'filter', 'map'] as const;
export type LoopName = (typeof loopNames)[number];

/** The variable of a loop. */
export interface Item {
  readonly type: Type;
  readonly extent: Extent;
}

/** What a loop over this gives its variable: the entries of a list, the names of a map's members; undefined over anything else. */
export function itemOf(range: Node): Item | undefined {
  const { type, extent } = range;
  if (!agree(type, list(dyn)) && type.kind !== 'map') return undefined;
  const part = (most: Bound): Bound => ({ fixed: 0, perItemSize: 1, max: most.max });
  return {
    type: type.kind === 'list' ? type.element : type.kind === 'map' ? string : dyn,
    extent: { text: part(extent.text), size: part(extent.size), entries: extent.entries },
  };
}

/**
 * A loop over a list or map. `body` is the condition on an item, and `made` what `map` makes of it (CEL has a form of `map` with both).
 */
export function loopNode(name: LoopName, range: Node, body: Node | null, made: Node | null): Node {
  const bodies = [body, made].filter((node) => node !== null);
  const each = sum(constant(ns.turn), ...bodies.map(({ costNs }) => costNs));
  const { entries } = range.extent;
  const costNs = sum(constant(ns.call), range.costNs, overLoop(each, entries, range.extent.size.max));
  const over = (loop: (items: readonly Value[], scope: Scope) => Value) => (scope: Scope) => {
    const items = itemsOf(range.run(scope));
    return items instanceof Failure ? items : loop(items, scope);
  };
  const test = body?.run ?? (() => true);
  if (name === 'exists' || name === 'all') {
    const decides = name === 'exists';
    return { type: bool, extent: scalar, costNs, run: over(quantifier(test, decides)) };
  }
  if (name === 'exists_one') return { type: bool, extent: scalar, costNs, run: over(exactlyOne(test)) };
  const make = made?.run ?? ((scope: Scope) => scope.item);
  const type = list(made?.type ?? itemOf(range)?.type ?? dyn);
  return { type, extent: extentOfResult(range, made), costNs, run: over(collector(test, make)) };
}

function extentOfResult(range: Node, made: Node | null): Extent {
  const { entries, size } = range.extent;
  if (made === null) return range.extent;
  return {
    text: constant(made.extent.text.max),
    size: overLoop(sum(made.extent.size, constant(valueSize)), entries, size.max),
    entries: Math.max(entries, made.extent.entries),
  };
}

const noRange = new Failure('what is looped over is neither a list nor a map');

function itemsOf(value: Value): readonly Value[] | Failure {
  if (isList(value) || value instanceof Failure) return value;
  return isMap(value) ? Object.keys(value) : noRange;
}

type Loop = (items: readonly Value[], scope: Scope) => Value;

/** An item that decides does so whatever the others are, failures included: `exists` is a chain of `||`. */
function quantifier(test: (scope: Scope) => Value, decides: boolean): Loop {
  return (items, scope) => {
    let failure: Failure | null = null;
    for (const item of items) {
      scope.item = item;
      const held = test(scope);
      if (held === decides) return decides;
      if (held !== !decides) failure ??= failureOf(held);
    }
    return failure ?? !decides;
  };
}

function exactlyOne(test: (scope: Scope) => Value): Loop {
  return (items, scope) => {
    let found = 0;
    for (const item of items) {
      scope.item = item;
      const held = test(scope);
      if (typeof held !== 'boolean') return failureOf(held);
      if (held) found += 1;
    }
    return found === 1;
  };
}

function collector(test: (scope: Scope) => Value, make: (scope: Scope) => Value): Loop {
  return (items, scope) => {
    const made: Value[] = [];
    for (const item of items) {
      scope.item = item;
      const held = test(scope);
      if (typeof held !== 'boolean') return failureOf(held);
      if (!held) continue;
      const value = make(scope);
      if (value instanceof Failure) return value;
      made.push(value);
    }
    return made;
  };
}
