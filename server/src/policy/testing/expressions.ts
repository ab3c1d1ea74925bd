import { type Arbitrary, array, boolean, constant, constantFrom, double, integer, oneof, string } from 'fast-check';

/**
 * Random conditions that are well-typed, and random arguments for them. The names overlap, so that now and then a condition finds in the
 * arguments what it looks for; often it finds another type, or nothing.
 */
const names = ['a', 'b', 'n', 'list', 'map', '__proto__'] as const;
const words = ['', 'a', 'b', 'aa', 'ab', 'é', '😀', 'planner', 'claude-sonnet', '1', '-2.5'] as const;
const literal = {
  text: constantFrom(...words).map((word) => JSON.stringify(word)),
  whole: integer({ min: -3, max: 70 }).map(String),
};

function join(parts: readonly Arbitrary<string>[], write: (...parts: string[]) => string): Arbitrary<string> {
  return parts
    .reduce<Arbitrary<string[]>>(
      (before, part) => before.chain((written) => part.map((each) => [...written, each])),
      constant<string[]>([]),
    )
    .map((written) => write(...written));
}

interface Level {
  readonly bool: Arbitrary<string>;
  readonly text: Arbitrary<string>;
  readonly whole: Arbitrary<string>;
  readonly double: Arbitrary<string>;
  readonly list: Arbitrary<string>;
  readonly dyn: Arbitrary<string>;
}

/** What a loop's body may name besides the facts. */
type Item = readonly string[];

function leaves(item: Item): Level {
  const argument = constantFrom(...names).map((name) => `args.${name}`);
  return {
    bool: oneof(
      boolean().map(String),
      constantFrom(...names).map((name) => `has(args.${name})`),
    ),
    text: oneof(literal.text, constantFrom('principal.name', 'resource.name', 'action')),
    whole: literal.whole,
    double: constantFrom('0.0', '1.5', '-2.5', '63.0'),
    list: oneof(
      constant('principal.teams'),
      constant('[]'),
      array(literal.text, { maxLength: 3 }).map((all) => `[${all.join(', ')}]`),
    ),
    dyn: oneof(argument, argument, constantFrom('args', ...item)),
  };
}

function grow(depth: number, item: Item): Level {
  if (depth === 0) return leaves(item);
  const inner = grow(depth - 1, item);
  const leaf = leaves(item);
  const any = oneof(inner.dyn, inner.text, inner.whole, inner.double, inner.list);
  const range = oneof(inner.list, inner.dyn);
  const body = grow(depth - 1, ['x']);
  const loops: readonly Arbitrary<string>[] =
    item.length > 0
      ? []
      : [
          join(
            [range, constantFrom('exists', 'all', 'exists_one'), body.bool],
            (over, loop, test) => `${over}.${loop}(x, ${test})`,
          ),
        ];
  const listLoops: readonly Arbitrary<string>[] =
    item.length > 0
      ? []
      : [
          join([range, body.bool], (over, test) => `${over}.filter(x, ${test})`),
          join([range, body.dyn], (over, made) => `${over}.map(x, ${made})`),
        ];
  return {
    bool: oneof(
      leaf.bool,
      join([inner.bool, constantFrom('&&', '||'), inner.bool], (left, by, right) => `(${left} ${by} ${right})`),
      join([inner.bool], (value) => `!(${value})`),
      join([inner.bool, inner.bool, inner.bool], (when, yes, no) => `(${when} ? ${yes} : ${no})`),
      join([inner.dyn, constantFrom('==', '!='), any], (left, by, right) => `(${left} ${by} ${right})`),
      join([inner.text, constantFrom('==', '<', '>='), inner.text], (left, by, right) => `(${left} ${by} ${right})`),
      join(
        [inner.dyn, constantFrom('<', '<=', '>', '>='), oneof(inner.dyn, inner.whole, inner.double, inner.text)],
        (left, by, right) => `(${left} ${by} ${right})`,
      ),
      join([any, constant('in'), inner.dyn], (left, by, right) => `(${left} ${by} ${right})`),
      join(
        [oneof(inner.text, inner.dyn), constantFrom('contains', 'startsWith', 'endsWith'), inner.text],
        (text, method, sought) => `${text}.${method}(${sought})`,
      ),
      join(
        [oneof(inner.text, inner.dyn), constantFrom('a+', '^b|c$', '(?i)A', '\\\\d')],
        (text, pattern) => `${text}.matches("${pattern}")`,
      ),
      ...loops,
    ),
    text: oneof(
      leaf.text,
      join([inner.text, inner.text], (left, right) => `(${left} + ${right})`),
      inner.whole.map((value) => `string(${value})`),
    ),
    whole: oneof(
      leaf.whole,
      join(
        [inner.whole, constantFrom('+', '-', '*', '/', '%'), inner.whole],
        (left, by, right) => `(${left} ${by} ${right})`,
      ),
      oneof(inner.text, inner.list, inner.dyn).map((value) => `size(${value})`),
      inner.double.map((value) => `int(${value})`),
    ),
    double: oneof(
      leaf.double,
      join(
        [inner.double, constantFrom('+', '-', '*', '/'), inner.double],
        (left, by, right) => `(${left} ${by} ${right})`,
      ),
      inner.whole.map((value) => `double(${value})`),
    ),
    list: oneof(
      leaf.list,
      array(inner.dyn, { minLength: 1, maxLength: 3 }).map((all) => `[${all.join(', ')}]`),
      ...listLoops,
    ),
    dyn: oneof(
      leaf.dyn,
      join([inner.dyn, constantFrom(...names)], (value, name) => `${value}.${name}`),
      // A key from the arguments is made a number: the library takes `false` for the position 0 of a list.
      join(
        [
          inner.dyn,
          oneof(
            inner.whole,
            inner.text,
            inner.dyn.map((key) => `(${key} + 0.0)`),
          ),
        ],
        (value, key) => `${value}[${key}]`,
      ),
      // Not two of them: CEL joins lists by +, and this subset does not.
      join([inner.dyn, constantFrom('+', '-', '*'), inner.double], (left, by, right) => `(${left} ${by} ${right})`),
    ),
  };
}

/** Conditions as nested as this; three levels and more are mostly too costly or too long to be saved. */
export function randomCondition(depth: number): Arbitrary<string> {
  return grow(depth, []).bool;
}

const scalar = oneof(
  constant(null),
  boolean(),
  constantFrom(0, -0, 1, 1.5, -2.5, 63, 2 ** 53, 1e300),
  double({ noNaN: true, noDefaultInfinity: true }),
  constantFrom(...words),
  // The library orders texts by UTF-16 units, which differs from code points above U+E000.
  string({ unit: constantFrom('a', 'b', 'é', '😀', '\n'), maxLength: 5 }),
);

function record(value: Arbitrary<unknown>): Arbitrary<Record<string, unknown>> {
  return array(
    constantFrom(...names).chain((name) => value.map((each) => [name, each ?? 0] as const)),
    { maxLength: 5 },
  ).map((all) => Object.fromEntries(all));
}

function value(depth: number): Arbitrary<unknown> {
  if (depth === 0) return scalar;
  const inner = value(depth - 1);
  return oneof(scalar, array(inner, { maxLength: 4 }), record(inner));
}

/** What a caller sends. */
export const randomArguments: Arbitrary<Record<string, unknown>> = record(value(2));
