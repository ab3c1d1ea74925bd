import type { Call, Refuse } from './call.ts';
import { sum } from './cost.ts';
import type { FunctionSpec } from './function-spec.ts';
import { functions } from './functions.ts';
import { loopNames } from './loops.ts';
import type { Node, Run } from './node.ts';
import { operators } from './operators.ts';
import { prepared } from './prepared.ts';
import { nearest } from './suggestion.ts';
import { describe } from './types.ts';
import { Failure } from './values.ts';

const nothing: Run = () => null;

/** Operators and functions by name and number of arguments. */
const specs: ReadonlyMap<string, FunctionSpec> = new Map(
  [...operators, ...functions].map((spec) => [`${spec.name}/${spec.arity}`, spec]),
);

/** The functions that a condition can call, without operators. */
export const functionNames: readonly string[] = [
  ...new Set([...functions.map(({ name }) => name), ...Object.keys(prepared), ...loopNames, 'has']),
].sort();

/** A call of an operator or function, other than those that need not evaluate all that they are given (logic.ts). */
export function callNode(call: Call, refuse: Refuse): Node {
  const prepare = Object.hasOwn(prepared, call.name) ? prepared[call.name] : undefined;
  if (prepare !== undefined) return prepare(call, refuse);
  const spec = specs.get(`${call.name}/${call.args.length}`);
  if (spec === undefined) return refuseUnknown(call, refuse);
  const wrongShape = call.isMethod ? spec.shape === 'function' : spec.shape === 'method';
  const result = wrongShape ? undefined : spec.result(call.args.map(({ type }) => type));
  if (result === undefined) return refuse('wrong_type', told(spec, call));
  return {
    type: result,
    extent: spec.extent(call.args),
    costNs: sum(spec.costNs(call.args), ...call.args.map(({ costNs }) => costNs)),
    run: runOf(spec, call.args),
  };
}

function told({ written, takes }: FunctionSpec, { args }: Call): string {
  const given = args.map(({ type }) => describe(type)).join(' and ');
  return `${written} takes ${takes}; here it is given ${given}.`;
}

function refuseUnknown({ name }: Call, refuse: Refuse): never {
  if (name === 'has') return refuse('wrong_type', 'has() takes a member, as in has(args.temperature).');
  if (loopNames.some((each) => each === name))
    return refuse(
      'wrong_type',
      `${name}() takes a name for the entry and an expression, as in list.${name}(entry, …).`,
    );
  const namesake = functions.find((spec) => spec.name === name);
  if (namesake !== undefined) return refuse('wrong_type', `${namesake.written} takes ${namesake.takes}.`);
  if (!/^\w+$/.test(name)) return refuse('not_supported', `The operator ${name.replaceAll('_', '')} is not supported.`);
  const meant = nearest(name, functionNames);
  const hint = meant === null ? `The functions are: ${functionNames.join(', ')}.` : `Did you mean ${meant}()?`;
  return refuse('unknown_function', `There is no function ${name}(). ${hint}`);
}

function runOf({ written, apply }: FunctionSpec, [one, two, three]: readonly Node[]): Run {
  const failure = new Failure(`${written} is not defined for what it was given`);
  const given = one?.run ?? nothing;
  const literal = two === undefined ? null : two.literal;
  // Most calls compare with what is written out, which need not be evaluated.
  if (literal !== undefined && three === undefined) {
    return (scope) => {
      const first = given(scope);
      if (first instanceof Failure) return first;
      const value = apply(first, literal, null);
      return value === undefined ? failure : value;
    };
  }
  const [more, most] = [two?.run ?? nothing, three?.run ?? nothing];
  return (scope) => {
    const first = given(scope);
    if (first instanceof Failure) return first;
    const second = more(scope);
    if (second instanceof Failure) return second;
    const third = most(scope);
    if (third instanceof Failure) return third;
    const value = apply(first, second, third);
    return value === undefined ? failure : value;
  };
}
