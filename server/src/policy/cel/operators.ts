import { add, divide, multiply, negate, remainder, subtract } from './arithmetic.ts';
import { type Bound, constant, type Extent, ns, smaller, sum, textOf, times } from './cost.ts';
import { type Argument, define, first, type FunctionSpec, oneOf, second, type Signature } from './function-spec.ts';
import { agree, bool, double, duration, dyn, int, list, map, string, timestamp, type Type } from './types.ts';
import { compare, equal, Failure, isList, isMap, isNumber, type Value } from './values.ts';

const onInts: Signature = [int, int, int];
const onDoubles: Signature = [double, double, double];
const numbersTaken = 'two int or two double (double() makes one of an int)';

function arithmetic(
  written: string,
  takes: string,
  signatures: readonly Signature[],
  apply: FunctionSpec['apply'],
): FunctionSpec {
  return define({
    name: `_${written}_`,
    written,
    shape: 'operator',
    arity: 2,
    takes,
    result: oneOf(...signatures),
    costNs: () => constant(ns.arithmetic),
    apply,
  });
}

function order(written: string, holds: (sign: number) => boolean): FunctionSpec {
  const numbers = [int, double].flatMap((left) => [int, double].map((right): Signature => [bool, left, right]));
  const others = [string, bool, timestamp, duration].map((type): Signature => [bool, type, type]);
  return define({
    name: `_${written}_`,
    written,
    shape: 'operator',
    arity: 2,
    takes: 'two numbers, or two of string, bool, timestamp or duration',
    result: oneOf(...numbers, ...others),
    costNs: (args) =>
      sum(constant(ns.call), times(smaller(first(args).extent.text, second(args).extent.text), ns.orderText)),
    apply: (left, right) => {
      const sign = compare(left, right);
      return sign === undefined ? undefined : holds(sign);
    },
  });
}

function equality(written: string, wanted: boolean): FunctionSpec {
  return define({
    name: `_${written}_`,
    written,
    shape: 'operator',
    arity: 2,
    takes: 'two values of one type, since others are never equal',
    result: ([left = dyn, right = dyn]) => (agree(left, right) ? bool : undefined),
    costNs: (args) =>
      sum(constant(ns.call), comparing(first(args).type, first(args).extent, second(args).type, second(args).extent)),
    apply: (left, right) => equal(left, right) === wanted,
  });
}

/** What comparing costs beyond the call, by the smaller of the two: a scalar is unlike a list at once. */
function comparing(left: Type, leftExtent: Extent, right: Type, rightExtent: Extent): Bound {
  return isDeep(left) && isDeep(right)
    ? times(smaller(leftExtent.size, rightExtent.size), ns.equalValue)
    : times(smaller(leftExtent.text, rightExtent.text), ns.equalText);
}

function isDeep({ kind }: Type): boolean {
  return kind === 'dyn' || kind === 'list' || kind === 'map';
}

function elementOf(type: Type): Type {
  return 'element' in type ? type.element : dyn;
}

const membership = define({
  name: '@in',
  written: 'in',
  shape: 'operator',
  arity: 2,
  takes: 'a value and a list of such values, or a text and a map',
  result: ([value = dyn, within = dyn]) => {
    if (within.kind === 'map') return agree(value, string) ? bool : undefined;
    return agree(within, list(dyn)) && agree(value, elementOf(within)) ? bool : undefined;
  },
  costNs: (args) => {
    const [value, within] = [first(args), second(args)];
    const { entries, size } = within.extent;
    // The value is compared with each entry, and the entries together are as large as the list.
    const values = { text: times(value.extent.text, entries), size: times(value.extent.size, entries), entries };
    const whole = { text: size, size, entries };
    return sum(
      constant(ns.call + entries * ns.entryRead),
      comparing(value.type, values, elementOf(within.type), whole),
      times(value.extent.text, ns.scanText),
    );
  },
  apply: (value, within) => {
    if (isList(within)) return within.some((element) => equal(element, value));
    if (!isMap(within)) return undefined;
    if (typeof value === 'string') return Object.hasOwn(within, value);
    // What maps of other conditions could have as keys, and these never do.
    return isNumber(value) || typeof value === 'boolean' ? false : undefined;
  },
});

const noEntry = new Failure('the list has no entry at this position');
const noMember = new Failure('the map has no member of this name');

const lookup = define({
  name: '_[_]',
  written: '[]',
  shape: 'operator',
  arity: 2,
  takes: 'a list and an int, or a map and a text',
  result: ([within = dyn, key = dyn]) => {
    if (agree(within, list(dyn)) && (agree(key, int) || (within.kind === 'dyn' && key.kind === 'string')))
      return elementOf(within);
    return agree(within, map(dyn)) && agree(key, string) ? elementOf(within) : undefined;
  },
  costNs: (args) => sum(constant(ns.lookup), times(second(args).extent.text, ns.scanText)),
  extent: (args) => first(args).extent,
  apply: (within, key) => {
    if (isList(within))
      return isNumber(key) && Number.isInteger(Number(key)) ? entryAt(within, Number(key)) : undefined;
    if (!isMap(within) || typeof key !== 'string') return undefined;
    return Object.hasOwn(within, key) ? (within[key] ?? null) : noMember;
  },
});

function entryAt(list: readonly Value[], position: number): Value {
  const entry = list[position];
  return entry === undefined ? noEntry : entry;
}

/** Joining two texts makes a third, as long as both. */
function joined(args: readonly Argument[]): Bound {
  return sum(first(args).extent.text, second(args).extent.text);
}

const addition: FunctionSpec = {
  ...arithmetic(
    '+',
    'two int, two double, two texts, two durations, or a timestamp and a duration',
    [
      onInts,
      onDoubles,
      [string, string, string],
      [duration, duration, duration],
      [timestamp, timestamp, duration],
      [timestamp, duration, timestamp],
    ],
    add,
  ),
  costNs: (args) => sum(constant(ns.arithmetic), times(joined(args), ns.scanText)),
  extent: (args) => textOf(joined(args)),
};

const negation = define({
  name: '-_',
  written: '-',
  shape: 'operator',
  arity: 1,
  takes: 'an int or a double',
  result: oneOf([int, int], [double, double]),
  costNs: () => constant(ns.arithmetic),
  apply: negate,
});

const not = define({
  name: '!_',
  written: '!',
  shape: 'operator',
  arity: 1,
  takes: 'a bool',
  result: oneOf([bool, bool]),
  apply: (value) => (typeof value === 'boolean' ? !value : undefined),
});

/** All operators but those that need not evaluate all that they are given: `&&`, `||` and `?:`. */
export const operators: readonly FunctionSpec[] = [
  addition,
  arithmetic(
    '-',
    'two int, two double, two timestamps, two durations, or a timestamp and a duration',
    [
      onInts,
      onDoubles,
      [duration, timestamp, timestamp],
      [timestamp, timestamp, duration],
      [duration, duration, duration],
    ],
    subtract,
  ),
  arithmetic('*', numbersTaken, [onInts, onDoubles], multiply),
  arithmetic('/', numbersTaken, [onInts, onDoubles], divide),
  arithmetic('%', 'two int', [onInts], remainder),
  negation,
  not,
  equality('==', true),
  equality('!=', false),
  order('<', (sign) => sign < 0),
  order('<=', (sign) => sign <= 0),
  order('>', (sign) => sign > 0),
  order('>=', (sign) => sign >= 0),
  membership,
  lookup,
];
