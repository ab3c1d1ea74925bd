import type { Expr } from '@bufbuild/cel-spec/cel/expr/syntax_pb.js';
import type { Refuse } from './call.ts';
import { constant, type Extent, largerExtent, ns, scalar, sum, textOf, valueSize } from './cost.ts';
import { literalNode, type Node } from './node.ts';
import { bool, double, dyn, int, join, nil, string, type Type } from './types.ts';
import { Failure, type Value } from './values.ts';

type Constant = Extract<Expr['exprKind'], { case: 'constExpr' }>['value'];

export function constantNode({ constantKind }: Constant, refuse: Refuse): Node {
  switch (constantKind.case) {
    case 'boolValue':
      return literalNode(constantKind.value, bool);
    case 'doubleValue':
      return literalNode(constantKind.value, double);
    case 'stringValue':
      return literalNode(constantKind.value, string, textOf(constant(constantKind.value.length)));
    case 'nullValue':
      return literalNode(null, nil);
    case 'int64Value':
      if (BigInt.asIntN(64, constantKind.value) === constantKind.value) return literalNode(constantKind.value, int);
      return refuse('bad_constant', 'A whole number has 64 bits; this one is larger.');
    default:
      return refuse('not_supported', 'There are no unsigned numbers (1u) and no bytes (b"…") here; write 1 or "…".');
  }
}

/** The type that the entries of a list or map have in common. */
export function typeOfAll(nodes: readonly Node[]): Type {
  const [first, ...others] = nodes.map(({ type }) => type);
  return first === undefined ? dyn : others.reduce(join, first);
}

/** A list or map that an expression makes; one of literals is made once. */
export function collectionNode(type: Type, nodes: readonly Node[], make: (values: readonly Value[]) => Value): Node {
  const inside = nodes.map((node) => node.extent).reduce(largerExtent, scalar);
  const extent: Extent = {
    text: inside.text,
    size: sum(constant(valueSize), ...nodes.map((node) => sum(node.extent.size, constant(valueSize)))),
    entries: Math.max(nodes.length, inside.entries),
  };
  if (nodes.every(({ literal }) => literal !== undefined))
    return literalNode(make(nodes.map(({ literal }) => literal ?? null)), type, extent);
  return {
    type,
    extent,
    costNs: sum(constant(ns.call + nodes.length * ns.entry), ...nodes.map(({ costNs }) => costNs)),
    run: (scope) => {
      const values: Value[] = [];
      for (const { run } of nodes) {
        const value = run(scope);
        if (value instanceof Failure) return value;
        values.push(value);
      }
      return make(values);
    },
  };
}
