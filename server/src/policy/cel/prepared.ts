import type { Call, Refuse } from './call.ts';
import { constant, ns, scalar, sum, times } from './cost.ts';
import { literalNode, type Node } from './node.ts';
import { compilePattern, type Pattern, PatternRefused, type PatternSteps } from './pattern.ts';
import { calendar, millisecondsOf, readDuration, readTimestamp, readZone, utc } from './time.ts';
import { agree, bool, duration, int, string, timestamp } from './types.ts';
import { Failure, Time, type Value } from './values.ts';

/** Those whose argument must be written out, since they are made ready when the condition is saved. */
export const prepared: Readonly<Record<string, (call: Call, refuse: Refuse) => Node>> = {
  matches: matchesNode,
  timestamp: (call, refuse) => momentNode(call, refuse, 'timestamp'),
  duration: (call, refuse) => momentNode(call, refuse, 'duration'),
  ...Object.fromEntries(Object.keys(calendar).map((name) => [name, calendarNode])),
};

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
