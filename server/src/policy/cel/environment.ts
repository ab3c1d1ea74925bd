import {
  argumentEntriesMax,
  argumentsSizeMax,
  argumentTextBytesMax,
  factEntriesMax,
  factEntryCharsMax,
  factTextCharsMax,
} from '../../base/limits.ts';
import type { Facts } from '../facts.ts';
import { constant, type Extent, ns, scalar, textOf } from './cost.ts';
import { dyn, list, map, string, timestamp, type Type } from './types.ts';
import { Failure, Time, type Value } from './values.ts';

/** Something of the facts that a condition can name. */
export interface Variable {
  readonly type: Type;
  readonly extent: Extent;
  readonly costNs: number;
  read(this: void, facts: Facts): Value;
}

/** The variables by name, with those of a record by their whole names: `principal.id`. */
export const variables: ReadonlyMap<string, Variable> = new Map([
  ['action', text((facts) => facts.action)],
  ['principal.kind', text((facts) => facts.principal.kind)],
  ['principal.id', text((facts) => facts.principal.id)],
  ['principal.name', text((facts) => facts.principal.name)],
  ['principal.agent', text((facts) => facts.principal.agent)],
  ['principal.person', text((facts) => facts.principal.person)],
  ['principal.key', text((facts) => facts.principal.key)],
  ['principal.teams', texts((facts) => facts.principal.teams)],
  ['principal.scopes', texts((facts) => facts.principal.scopes)],
  ['resource.type', text((facts) => facts.resource.type)],
  ['resource.name', text((facts) => facts.resource.name)],
  ['resource.provider', text((facts) => facts.resource.provider)],
  ['resource.route', text((facts) => facts.resource.route)],
  ['run.id', text((facts) => facts.run?.id)],
  ['run.workflow', text((facts) => facts.run?.workflow)],
  ['args', { type: map(dyn), extent: extentOfArguments(), costNs: ns.read, read: (facts) => facts.args }],
  [
    'time',
    {
      type: timestamp,
      extent: scalar,
      costNs: ns.arithmetic,
      read: (facts) => new Time('timestamp', BigInt(Math.trunc(facts.time)) * 1_000_000n),
    },
  ],
]);

/** What is no value itself, only its fields are: `principal`, `resource` and `run`. */
export const records: ReadonlySet<string> = new Set(
  [...variables.keys()].filter((name) => name.includes('.')).map((name) => name.slice(0, name.indexOf('.'))),
);

/** The names of a record's fields, or of what stands at the top where none is given. */
export function namesIn(record: string | null): readonly string[] {
  if (record === null) return [...records, ...variables.keys()].filter((name) => !name.includes('.'));
  const prefix = `${record}.`;
  return [...variables.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
}

function extentOfArguments(): Extent {
  return {
    text: constant(argumentTextBytesMax),
    size: constant(argumentsSizeMax),
    entries: argumentEntriesMax,
  };
}

const tooLong = new Failure('a fact of this call is longer than conditions may see');

/** A text that the call lacks is empty, as in protobuf: `has(run.id)` says whether there is one. */
function text(find: (facts: Facts) => string | null | undefined): Variable {
  return {
    type: string,
    extent: textOf(constant(factTextCharsMax)),
    costNs: ns.read,
    read: (facts) => {
      const value = find(facts) ?? '';
      return value.length > factTextCharsMax ? tooLong : value;
    },
  };
}

function texts(find: (facts: Facts) => readonly string[]): Variable {
  return {
    type: list(string),
    extent: {
      text: constant(factEntryCharsMax),
      size: constant(factEntriesMax * factEntryCharsMax),
      entries: factEntriesMax,
    },
    costNs: ns.read * factEntriesMax,
    read: (facts) => {
      const values = find(facts);
      return values.length > factEntriesMax || values.some((value) => value.length > factEntryCharsMax)
        ? tooLong
        : values;
    },
  };
}
