import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hostileArguments } from '../../../../test/support/hostile-arguments.ts';
import { conditionCostNsMax } from '../../base/limits.ts';
import { someFacts } from '../testing/facts.ts';
import { compileCondition } from './condition.ts';

interface Hostile {
  readonly name: string;
  readonly expression: string;
  readonly expect: 'accepted' | 'refused';
  readonly code?: string;
}

const path = new URL('../../../../test/vectors/hostile-conditions.json', import.meta.url);
const hostile = JSON.parse(readFileSync(path, 'utf8')) as readonly Hostile[];
const calls = Object.values(hostileArguments).map((args) => someFacts({ args: args() }));

describe('the published list of hostile conditions', () => {
  test('names each once', () => {
    expect(new Set(hostile.map(({ name }) => name)).size).toBe(hostile.length);
  });

  test.each(hostile.filter((each) => each.expect === 'refused'))('$name: refused as $code', ({ expression, code }) => {
    const compiled = compileCondition(expression);
    expect('problem' in compiled ? compiled.problem.code : 'accepted').toBe(code);
  });

  test.each(hostile.filter((each) => each.expect === 'accepted'))(
    '$name: accepted, and comes to a verdict on all hostile arguments',
    ({ expression }) => {
      const compiled = compileCondition(expression);
      if ('problem' in compiled) throw new Error(compiled.problem.message);
      expect(compiled.condition.costNs).toBeLessThanOrEqual(conditionCostNsMax);
      for (const facts of calls) {
        const held = compiled.condition.evaluate(facts);
        expect(typeof held === 'boolean' ? 'decided' : held.message).not.toBe('');
      }
    },
  );
});
