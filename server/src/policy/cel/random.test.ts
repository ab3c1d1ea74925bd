import { celEnv, isCelError, parse, plan } from '@bufbuild/cel';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { assert, array, constantFrom, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hostileArguments } from '../../../../test/support/hostile-arguments.ts';
import type { Facts } from '../facts.ts';
import { randomArguments, randomCondition } from '../testing/expressions.ts';
import { someFacts } from '../testing/facts.ts';
import { compileCondition } from './condition.ts';

const library = celEnv();

/**
 * What the library's own evaluator makes of a condition: true, false, or a failure. The arguments have no member that is null, which it
 * takes for none.
 */
function byLibrary(text: string, facts: Facts): boolean | 'failure' {
  const { action, principal, resource, args, time } = facts;
  const held = plan(
    library,
    parse(text),
  )({ action, principal, resource, args: mapOf(args), time: timestampFromMs(time) } as never);
  return isCelError(held) || typeof held !== 'boolean' ? 'failure' : held;
}

/** Maps instead of objects, in which the library would look for members by way of their prototypes. */
function mapOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mapOf);
  if (typeof value !== 'object' || value === null) return value;
  return new Map(Object.entries(value).map(([name, each]) => [name, mapOf(each)]));
}

describe('random conditions', () => {
  const args = array(randomArguments, { minLength: 4, maxLength: 4 });

  test('those that can be saved come to what another evaluator makes of them', () => {
    let compared = 0;
    assert(
      property(randomCondition(3), args, (text, sent) => {
        const compiled = compileCondition(text);
        if ('problem' in compiled) return;
        for (const each of sent) {
          const facts = someFacts({ args: each });
          const held = compiled.condition.evaluate(facts);
          expect([text, each, typeof held === 'boolean' ? held : 'failure']).toEqual([
            text,
            each,
            byLibrary(text, facts),
          ]);
          compared += 1;
        }
      }),
      { numRuns: 40_000 },
    );
    expect(compared).toBeGreaterThan(4_000);
  });

  test('never throw on hostile arguments, and come to the same after their facts were written and read', () => {
    assert(
      property(randomCondition(4), constantFrom(...Object.values(hostileArguments)), (text, sent) => {
        const compiled = compileCondition(text);
        if ('problem' in compiled) return;
        const facts = someFacts({ args: sent() });
        const held = compiled.condition.evaluate(facts);
        expect(compiled.condition.evaluate(JSON.parse(JSON.stringify(facts)) as Facts)).toEqual(held);
      }),
      { numRuns: 2_000 },
    );
  });
});
