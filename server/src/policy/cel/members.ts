import { constant, ns, scalar, sum } from './cost.ts';
import { namesIn, variables } from './environment.ts';
import type { Node } from './node.ts';
import { nearest } from './suggestion.ts';
import { bool, dyn } from './types.ts';
import { Failure, isMap, type Value } from './values.ts';

/** A variable, or the field of a record, by its whole name; undefined where there is none. */
export function variableNode(name: string): Node | undefined {
  const variable = variables.get(name);
  if (variable === undefined) return undefined;
  const { type, extent, costNs, read } = variable;
  return { type, extent, costNs: constant(costNs), run: ({ facts }) => read(facts) };
}

/** Says that there is no such name, and which was probably meant. */
export function unknown(name: string, record: string | null, loopName?: string): string {
  const known = [...namesIn(record), ...(loopName === undefined ? [] : [loopName])];
  const meant = nearest(name, known);
  const where = record === null ? `There is no variable ${name}.` : `${record} has no field ${name}.`;
  return `${where} ${meant === null ? `There are: ${known.join(', ')}.` : `Did you mean ${meant}?`}`;
}

/** Whether a field of a record has something in it, as `has()` of a field of a protobuf message. */
export function presenceNode({ costNs, run }: Node): Node {
  const present = (value: Value) => (typeof value === 'string' || Array.isArray(value) ? value.length > 0 : true);
  return {
    type: bool,
    extent: scalar,
    costNs: sum(constant(ns.call), costNs),
    run: (scope) => {
      const value = run(scope);
      return value instanceof Failure ? value : present(value);
    },
  };
}

/** `has(of.name)`. */
export function hasNode(of: Node, name: string): Node {
  const noMap = new Failure(`has() looks for ".${name}" in something that is no map`);
  return {
    type: bool,
    extent: scalar,
    costNs: sum(constant(ns.lookup), of.costNs),
    run: (scope) => {
      const value = of.run(scope);
      if (isMap(value)) return Object.hasOwn(value, name);
      return value instanceof Failure ? value : noMap;
    },
  };
}

/** `of.name`, of a map. */
export function memberNode(of: Node, name: string): Node {
  const missing = new Failure(`there is no ".${name}": has() says whether there is`);
  const noMap = new Failure(`".${name}" is asked of something that is no map`);
  return {
    type: of.type.kind === 'map' ? of.type.element : dyn,
    extent: of.extent,
    costNs: sum(constant(ns.lookup), of.costNs),
    run: (scope) => {
      const value = of.run(scope);
      if (isMap(value)) return Object.hasOwn(value, name) ? (value[name] ?? null) : missing;
      return value instanceof Failure ? value : noMap;
    },
  };
}
