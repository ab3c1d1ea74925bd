import type { Expr, SourceInfo } from '@bufbuild/cel-spec/cel/expr/syntax_pb.js';
import { conditionDepthMax, patternStepsMax } from '../../base/limits.ts';
import type { Refuse } from './call.ts';
import { callNode } from './calls.ts';
import { constant, ns } from './cost.ts';
import { namesIn, records, variables } from './environment.ts';
import { collectionNode, constantNode, typeOfAll } from './literals.ts';
import { choiceNode, eitherNode } from './logic.ts';
import { type Item, itemOf, loopNode } from './loops.ts';
import { bodyOf, macroName } from './macros.ts';
import { hasNode, memberNode, presenceNode, unknown, variableNode } from './members.ts';
import type { Node } from './node.ts';
import { ProblemAt } from './problem.ts';
import { agree, bool, describe, dyn, list, map } from './types.ts';

type Of<Case extends Expr['exprKind']['case']> = Extract<Expr['exprKind'], { case: Case }>['value'];

/** Checks one expression and everything in it: types, names, prices. Throws `ProblemAt`. */
export class Checker {
  readonly #source: SourceInfo;
  readonly #patternSteps = { left: patternStepsMax };
  #depth = 0;
  /** The loop whose body is being checked. */
  #loop: (Item & { readonly name: string }) | null = null;

  constructor(source: SourceInfo) {
    this.#source = source;
  }

  get patternStepsTaken(): number {
    return patternStepsMax - this.#patternSteps.left;
  }

  check(expression: Expr | undefined): Node {
    if (expression === undefined) throw new ProblemAt('syntax', 0, 'Something is missing here.');
    const refuse: Refuse = (code, message) => {
      throw new ProblemAt(code, this.#source.positions[String(expression.id)] ?? 0, message);
    };
    this.#depth += 1;
    if (this.#depth > conditionDepthMax)
      return refuse(
        'too_deep',
        `The condition is nested more than ${conditionDepthMax} levels deep; make two rules of it.`,
      );
    const node = this.#node(expression, refuse);
    this.#depth -= 1;
    return node;
  }

  #node(expression: Expr, refuse: Refuse): Node {
    const { exprKind } = expression;
    switch (exprKind.case) {
      case 'constExpr':
        return constantNode(exprKind.value, refuse);
      case 'identExpr':
        return this.#name(exprKind.value.name, refuse);
      case 'selectExpr':
        return this.#member(exprKind.value, refuse);
      case 'callExpr':
        return this.#call(exprKind.value, refuse);
      case 'listExpr':
        return this.#list(exprKind.value);
      case 'structExpr':
        return this.#map(exprKind.value, refuse);
      case 'comprehensionExpr':
        return this.#loopOf(expression, exprKind.value, refuse);
      default:
        return refuse('syntax', 'Something is missing here.');
    }
  }

  #name(name: string, refuse: Refuse): Node {
    if (this.#loop?.name === name) {
      const { type, extent } = this.#loop;
      return { type, extent, costNs: constant(ns.read), run: (scope) => scope.item };
    }
    if (records.has(name))
      return refuse('wrong_type', `${name} is no value itself; name one of its fields: ${namesIn(name).join(', ')}.`);
    return variableNode(name) ?? refuse('unknown_name', unknown(name, null, this.#loop?.name));
  }

  /** The record that an expression names, if it is only that. */
  #recordOf(operand: Expr | undefined): string | null {
    const name = operand?.exprKind.case === 'identExpr' ? operand.exprKind.value.name : null;
    return name !== null && records.has(name) ? name : null;
  }

  /** `operand.field`, or `has(operand.field)`. */
  #member({ operand, field, testOnly }: Of<'selectExpr'>, refuse: Refuse): Node {
    const record = this.#recordOf(operand);
    if (record !== null) {
      const node = variableNode(`${record}.${field}`) ?? refuse('unknown_name', unknown(field, record));
      return testOnly ? presenceNode(node) : node;
    }
    const of = this.check(operand);
    if (!agree(of.type, map(dyn)))
      return refuse(
        'wrong_type',
        `What is of type ${describe(of.type)} has no members, so there is no .${field} here.`,
      );
    return testOnly ? hasNode(of, field) : memberNode(of, field);
  }

  #call({ function: name, target, args }: Of<'callExpr'>, refuse: Refuse): Node {
    if (name === '_&&_' || name === '_||_') {
      const [left, right] = [this.check(args[0]), this.check(args[1])];
      for (const side of [left, right])
        if (!agree(side.type, bool))
          refuse('wrong_type', `${name.slice(1, 3)} takes two bool; one here is of type ${describe(side.type)}.`);
      return eitherNode(left, right, name === '_||_');
    }
    if (name === '_?_:_') {
      const [condition, yes, no] = [this.check(args[0]), this.check(args[1]), this.check(args[2])];
      if (!agree(condition.type, bool))
        return refuse('wrong_type', `What stands before ? is a bool; here it is of type ${describe(condition.type)}.`);
      if (!agree(yes.type, no.type))
        return refuse(
          'wrong_type',
          `Both sides of : have one type; here they are ${describe(yes.type)} and ${describe(no.type)}.`,
        );
      return choiceNode(condition, yes, no);
    }
    const all = target === undefined ? args : [target, ...args];
    const nodes = all.map((each) => this.check(each));
    return callNode({ name, isMethod: target !== undefined, args: nodes, patternSteps: this.#patternSteps }, refuse);
  }

  #list({ elements }: Of<'listExpr'>): Node {
    const nodes = elements.map((element) => this.check(element));
    return collectionNode(list(typeOfAll(nodes)), nodes, (values) => values);
  }

  #map({ entries, messageName }: Of<'structExpr'>, refuse: Refuse): Node {
    if (messageName !== '')
      return refuse('not_supported', `There are no messages here, so there is no ${messageName}{…}.`);
    const names: string[] = [];
    for (const { keyKind } of entries) {
      const key = keyKind.case === 'mapKey' ? this.check(keyKind.value).literal : undefined;
      if (typeof key !== 'string') return refuse('not_constant', 'The keys of a map are texts that are written out.');
      if (names.includes(key)) return refuse('bad_constant', `The map has the key "${key}" twice.`);
      names.push(key);
    }
    const nodes = entries.map(({ value }) => this.check(value));
    return collectionNode(map(typeOfAll(nodes)), nodes, (values) =>
      Object.fromEntries(names.map((name, position) => [name, values[position] ?? null])),
    );
  }

  /** A macro, which the parser has written out as a loop with an accumulator: what it was is found again. */
  #loopOf({ id }: Expr, loop: Of<'comprehensionExpr'>, refuse: Refuse): Node {
    const name = macroName(this.#source, id) ?? refuse('not_supported', 'This loop is not supported.');
    if (this.#loop !== null)
      return refuse(
        'nested',
        `${name}() stands within another loop, which could take too long; make two rules, or loop over one list.`,
      );
    if (records.has(loop.iterVar) || variables.has(loop.iterVar))
      return refuse('unknown_name', `${loop.iterVar} is a variable already; give the entry another name.`);
    const range = this.check(loop.iterRange);
    const item =
      itemOf(range) ??
      refuse('wrong_type', `${name}() loops over a list or map, not over type ${describe(range.type)}.`);
    const { test, made } = bodyOf(name, loop.loopStep);
    this.#loop = { ...item, name: loop.iterVar };
    const nodes = { test: test === null ? null : this.check(test), made: made === null ? null : this.check(made) };
    this.#loop = null;
    if (nodes.test !== null && !agree(nodes.test.type, bool))
      return refuse(
        'wrong_type',
        `${name}() takes a condition on each entry; this one is of type ${describe(nodes.test.type)}.`,
      );
    return loopNode(name, range, nodes.test, nodes.made);
  }
}
