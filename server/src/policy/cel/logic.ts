import { constant, larger, largerExtent, ns, scalar, sum } from './cost.ts';
import { failureOf, type Node } from './node.ts';
import { bool, join } from './types.ts';
import type { Value } from './values.ts';

/** `&&` and `||`: the side that decides does so whatever the other is, a failure included (language definition, "Logical operators"). */
export function eitherNode(left: Node, right: Node, decides: boolean): Node {
  return {
    type: bool,
    extent: scalar,
    costNs: sum(constant(ns.call), left.costNs, right.costNs),
    run: (scope) => {
      const one = left.run(scope);
      if (one === decides) return decides;
      const other = right.run(scope);
      if (other === decides) return decides;
      return bothBool(one, other) ? !decides : failureOf(typeof one === 'boolean' ? other : one);
    },
  };
}

function bothBool(left: Value, right: Value): boolean {
  return typeof left === 'boolean' && typeof right === 'boolean';
}

/** `condition ? yes : no`. */
export function choiceNode(condition: Node, yes: Node, no: Node): Node {
  return {
    type: join(yes.type, no.type),
    extent: largerExtent(yes.extent, no.extent),
    costNs: sum(constant(ns.call), condition.costNs, larger(yes.costNs, no.costNs)),
    run: (scope) => {
      const chosen = condition.run(scope);
      if (typeof chosen !== 'boolean') return failureOf(chosen);
      return chosen ? yes.run(scope) : no.run(scope);
    },
  };
}
