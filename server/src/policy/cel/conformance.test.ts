import { getConformanceSuite, type IncrementalTestSuite } from '@bufbuild/cel-spec/testdata/tests.js';
import { describe, expect, test } from 'vitest';
import { someFacts } from '../testing/facts.ts';
import { compileCondition } from './condition.ts';

/**
 * The expressions of CEL's own conformance suite (cel-spec) that this subset takes. What it does not take it refuses when a condition is
 * saved; what it takes must come to what the suite says.
 */
interface Case {
  readonly name: string;
  /** True where the suite's expression comes to the suite's value. */
  readonly condition: string;
  readonly fails: boolean;
}

function casesOf(suite: IncrementalTestSuite, path: string): readonly Case[] {
  const own = suite.tests.flatMap(({ original, name }) => {
    const { expr, resultMatcher, container, disableMacros } = original;
    if (container !== '' || disableMacros || Object.keys(original.bindings).length > 0) return [];
    if (resultMatcher.case === 'evalError')
      return [{ name: `${path}/${name}`, condition: `(${expr}) == (${expr})`, fails: true }];
    const expected = resultMatcher.case === 'value' ? literalOf(resultMatcher.value.kind) : undefined;
    return expected === undefined
      ? []
      : [{ name: `${path}/${name}`, condition: `(${expr}) == ${expected}`, fails: false }];
  });
  return [...own, ...suite.suites.flatMap((inner) => casesOf(inner, `${path}/${inner.name}`))];
}

function literalOf({
  case: kind,
  value,
}: {
  readonly case: string | undefined;
  readonly value?: unknown;
}): string | undefined {
  if (kind === 'boolValue' || kind === 'int64Value') return String(value);
  if (kind === 'stringValue') return JSON.stringify(value);
  if (kind === 'nullValue') return 'null';
  if (kind !== 'doubleValue' || !Number.isFinite(value)) return undefined;
  const written = String(value);
  return /[.e]/.test(written) ? written : `${written}.0`;
}

const facts = someFacts();

describe('the conformance suite of CEL', () => {
  const cases = casesOf(getConformanceSuite(), '').map((each) => ({
    ...each,
    compiled: compileCondition(each.condition),
  }));

  test('every expression that is taken comes to what the suite says', () => {
    const wrong = cases.filter(({ compiled, fails }) => {
      if ('problem' in compiled) return false;
      const held = compiled.condition.evaluate(facts);
      return fails ? typeof held === 'boolean' : held !== true;
    });
    expect(wrong.map(({ name, condition }) => `${name}: ${condition}`)).toEqual([]);
  });

  test('what the subset has is taken: of the suite a known share', () => {
    const taken = cases.filter(({ compiled }) => 'condition' in compiled);
    expect(taken.length).toBeGreaterThan(500);
  });
});
