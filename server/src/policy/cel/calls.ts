import { constant, ns, scalar, sum, times } from './cost.ts';
import { compilePattern, type Pattern, PatternRefused, type PatternSteps } from './pattern.ts';
import type { FunctionSpec } from './function-spec.ts';
import { functions } from './functions.ts';
import { loopNames } from './loops.ts';
import { literalNode, type Node, type Run } from './node.ts';
import { operators } from './operators.ts';
import type { ProblemCode } from './problem.ts';
import { nearest } from './suggestion.ts';
import { calendar, millisecondsOf, readDuration, readTimestamp, readZone, utc } from './time.ts';
import { agree, bool, describe, duration, int, string, timestamp } from './types.ts';
import { Failure, Time, type Value } from './values.ts';

/** Refuses the expression under examination. */
export type Refuse = (code: ProblemCode, message: string) => never;

/** A call as it is written: a method has its receiver as its first argument. */
export interface Call {
  readonly name: string;
  readonly isMethod: boolean;
  readonly args: readonly Node[];
  readonly patternSteps: PatternSteps;
}

const nothing: Run = () => null;

/** Operators and functions by name and number of arguments. */
const specs: ReadonlyMap<string, FunctionSpec> = new Map(
  [...operators, ...functions].map((spec) => [`${spec.name}/${spec.arity}`, spec]),
);

/** Those whose argument must be written out, since they are made ready when the condition is saved. */
const prepared: Readonly<Record<string, (call: Call, refuse: Refuse) => Node>> = {
  matches: matchesNode,
  timestamp: (call, refuse) => momentNode(call, refuse, 'timestamp'),
  duration: (call, refuse) => momentNode(call, refuse, 'duration'),
  ...Object.fromEntries(Object.keys(calendar).map((name) => [name, calendarNode])),
};

/** The functions that a condition can call, without operators. */
export const functionNames: readonly string[] = [
  ...new Set([...functions.map(({ name }) => name), ...Object.keys(prepared), ...loopNames, 'has']),
].sort();

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

function matchesNode({ args, patternSteps }: Call, refuse: Refuse): Node {
  const [text, source] = args;
  if (text === undefined || source === undefined || args.length !== 2 || !agree(text.type, string))
    return refuse('wrong_type', 'matches() takes a pattern, on a text.');
  if (typeof source.literal !== 'string')
    return refuse('not_constant', 'The pattern of matches() must be written out: "…" or \'…\'.');
  const failure = new Failure('matches() is not defined for what is no text');
  const matches = patternOf(source.literal, patternSteps, refuse);
  return {
    type: bool,
    extent: scalar,
    costNs: sum(constant(ns.call), text.costNs, times(text.extent.text, ns.matchText)),
    run: (scope) => {
      const value = text.run(scope);
      if (typeof value === 'string') return matches(value);
      return value instanceof Failure ? value : failure;
    },
  };
}

function patternOf(source: string, steps: PatternSteps, refuse: Refuse): Pattern {
  try {
    return compilePattern(source, steps);
  } catch (error) {
    if (error instanceof PatternRefused) return refuse('bad_pattern', `The pattern ${error.message}.`);
    throw error;
  }
}

const readMoment = { timestamp: readTimestamp, duration: readDuration };
const examples = { timestamp: '"2026-01-31T00:00:00Z"', duration: '"90m" or "1h30m"' };

function momentNode({ args }: Call, refuse: Refuse, kind: Time['kind']): Node {
  const [source] = args;
  if (args.length !== 1 || typeof source?.literal !== 'string')
    return refuse('not_constant', `${kind}() takes a text that is written out, such as ${examples[kind]}.`);
  const moment = readMoment[kind](source.literal);
  if (moment === undefined) return refuse('bad_constant', `This is no ${kind}; one is ${examples[kind]}.`);
  return literalNode(moment, kind === 'timestamp' ? timestamp : duration);
}

function calendarNode({ name, isMethod, args }: Call, refuse: Refuse): Node {
  const [moment, zoneName] = args;
  const read = calendar[name];
  if (read === undefined || moment === undefined || !isMethod || args.length > 2 || !agree(moment.type, timestamp))
    return refuse('wrong_type', `${name}() takes nothing or a time zone, on a timestamp, as in time.${name}("UTC").`);
  const zone = zoneName === undefined ? utc : readZone(typeof zoneName.literal === 'string' ? zoneName.literal : '');
  if (zone === undefined)
    return refuse('bad_constant', 'A time zone is written out, such as "Europe/Berlin" or "+02:00".');
  const failure = new Failure(`${name}() is not defined for what is no timestamp`);
  return {
    type: int,
    extent: scalar,
    costNs: sum(constant(zoneName === undefined ? ns.calendar : ns.zone), moment.costNs),
    run: (scope): Value => {
      const value = moment.run(scope);
      if (value instanceof Time && value.kind === 'timestamp') return BigInt(read(zone(millisecondsOf(value))));
      return value instanceof Failure ? value : failure;
    },
  };
}
