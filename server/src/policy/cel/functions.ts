import { toDouble, toInt, toText } from './conversions.ts';
import { constant, ns, smaller, sum, textOf, times } from './cost.ts';
import { define, first, type FunctionSpec, oneOf, second } from './function-spec.ts';
import { indexOf, lowerAscii, size, substring, upperAscii } from './texts.ts';
import { bool, double, dyn, int, list, map, string } from './types.ts';
import type { Value } from './values.ts';

/** A method of a text that takes another one. */
function withText(
  written: string,
  costNs: FunctionSpec['costNs'],
  result: typeof bool,
  apply: (text: string, sought: string) => Value,
): FunctionSpec {
  return define({
    name: written,
    written: `${written}()`,
    shape: 'method',
    arity: 2,
    takes: 'a text, on a text',
    result: oneOf([result, string, string]),
    costNs,
    apply: (text, sought) => (typeof text === 'string' && typeof sought === 'string' ? apply(text, sought) : undefined),
  });
}

/** At a fixed place, no more is compared than the shorter of the two. */
const comparing: FunctionSpec['costNs'] = (args) =>
  sum(constant(ns.call), times(smaller(first(args).extent.text, second(args).extent.text), ns.scanText));

/** Anywhere, each unit of the one may be compared with each of the other. */
const searching: FunctionSpec['costNs'] = (args) => {
  const [text, sought] = [first(args).extent.text, second(args).extent.text];
  const again = Math.min(sought.max, text.max) * ns.searchAgain;
  return sum(constant(ns.call), times(text, ns.searchText + again), times(sought, ns.scanText));
};

/** Where it was found is counted in code points. */
const finding: FunctionSpec['costNs'] = (args) => sum(searching(args), times(first(args).extent.text, ns.countText));

/** A text that is made of another one. */
function remade(written: string, apply: (text: string) => string): FunctionSpec {
  return define({
    name: written,
    written: `${written}()`,
    shape: 'method',
    arity: 1,
    takes: 'nothing, on a text',
    result: oneOf([string, string]),
    costNs: (args) => sum(constant(ns.convert), times(first(args).extent.text, ns.rewriteText)),
    extent: (args) => textOf(first(args).extent.text),
    apply: (text) => (typeof text === 'string' ? apply(text) : undefined),
  });
}

function part(arity: 2 | 3): FunctionSpec {
  return define({
    name: 'substring',
    written: 'substring()',
    shape: 'method',
    arity,
    takes: 'one or two int, on a text',
    result: oneOf([string, string, ...[int, int].slice(0, arity - 1)]),
    costNs: (args) => sum(constant(ns.call), times(first(args).extent.text, ns.countText)),
    extent: (args) => textOf(first(args).extent.text),
    apply: (text, from, to) => {
      if (typeof text !== 'string' || typeof from !== 'bigint') return undefined;
      if (arity === 2) return substring(text, from, null);
      return typeof to === 'bigint' ? substring(text, from, to) : undefined;
    },
  });
}

function conversion(name: string, result: typeof int, apply: (value: Value) => Value | undefined): FunctionSpec {
  const taken = name === 'string' ? [string, int, double, bool] : [int, double, string];
  return define({
    name,
    written: `${name}()`,
    shape: 'function',
    arity: 1,
    takes: taken.map(({ kind }) => kind).join(', '),
    result: oneOf(...taken.map((type) => [result, type] as const)),
    costNs: () => constant(ns.convert),
    extent: (args) =>
      name === 'string' ? textOf(sum(first(args).extent.text, constant(longestNumber))) : first(args).extent,
    apply,
  });
}

// A double takes 24 characters at most, a whole number 20.
const longestNumber = 24;

export const functions: readonly FunctionSpec[] = [
  define({
    name: 'size',
    written: 'size()',
    shape: 'method or function',
    arity: 1,
    takes: 'a text, a list or a map',
    result: oneOf([int, string], [int, list(dyn)], [int, map(dyn)]),
    costNs: (args) => {
      const { text, entries } = first(args).extent;
      return sum(constant(ns.call + entries * ns.entryRead), times(text, ns.countText));
    },
    apply: size,
  }),
  withText('contains', searching, bool, (text, sought) => text.includes(sought)),
  withText('startsWith', comparing, bool, (text, sought) => text.startsWith(sought)),
  withText('endsWith', comparing, bool, (text, sought) => text.endsWith(sought)),
  withText('indexOf', finding, int, indexOf),
  remade('lowerAscii', lowerAscii),
  remade('upperAscii', upperAscii),
  remade('trim', (text) => text.trim()),
  part(2),
  part(3),
  conversion('int', int, toInt),
  conversion('double', double, toDouble),
  conversion('string', string, toText),
];
