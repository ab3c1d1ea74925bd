import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Route, RouteTable, chooseTarget } from './routing.ts';
import { testRoute, testTarget } from './testing/routes.ts';

const route = (name: string, ...weights: number[]): Route =>
  testRoute({ name, targets: (weights.length > 0 ? weights : [1]).map((weight) => testTarget({ weight })) });

describe('a route table', () => {
  const table = new RouteTable(
    ['claude-*', 'claude-haiku-*', 'claude-haiku-4-5', 'fast', '*-mini'].map((name) => route(name)),
  );

  test.each([
    ['claude-haiku-4-5', 'claude-haiku-4-5'],
    ['claude-haiku-3', 'claude-haiku-*'],
    ['claude-opus-5', 'claude-*'],
    ['gpt-mini', '*-mini'],
    ['fast', 'fast'],
  ])('leads %s to %s, the most specific route', (model, name) => {
    expect(table.resolve(model).name).toBe(name);
  });

  test('names what is near to a model that it does not have', () => {
    expect(() => table.resolve('fasst')).toThrow('There is no model "fasst" here. Did you mean fast?');
    expect(() => table.resolve('qwen')).toThrow('GET /v1/models lists what there is.');
  });

  test('lists names, and no patterns', () => {
    expect(table.names).toEqual(['claude-haiku-4-5', 'fast']);
  });
});

test('a route chooses its targets by their weights', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 8 }), (weights) => {
      const weighted = route('any', ...weights);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      let below = 0;
      for (const [index, weight] of weights.entries()) {
        expect(chooseTarget(weighted, (below + 0.5) / total)).toBe(weighted.targets[index]);
        below += weight;
        expect(chooseTarget(weighted, (below - 0.5) / total)).toBe(weighted.targets[index]);
      }
    }),
  );
});
