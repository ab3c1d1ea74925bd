import { expect, test } from 'vitest';
import type { BreakerLevel } from '../../base/metrics.ts';
import { BreakerWatch } from './breaker-watch.ts';

const level = (model: string, state: BreakerLevel['state']): BreakerLevel => ({ provider: 'p', model, state });
const changed = (model: string, opened: boolean) => ({ provider: 'p', model, opened });

test('a breaker that opens is told of once, and as closed when its probes succeeded, not before', () => {
  const watch = new BreakerWatch();
  const look = (...levels: BreakerLevel[]) => {
    const { changes, settled } = watch.look(levels);
    settled();
    return changes;
  };
  expect(look(level('a', 'closed'), level('b', 'closed'))).toEqual([]);
  expect(look(level('a', 'open'), level('b', 'closed'))).toEqual([changed('a', true)]);
  expect(look(level('a', 'half_open'), level('b', 'open'))).toEqual([changed('b', true)]);
  expect(look(level('a', 'closed'), level('b', 'open'))).toEqual([changed('a', false)]);
});

test('what could not be told is found by the next look', () => {
  const watch = new BreakerWatch();
  expect(watch.look([level('a', 'open')]).changes).toEqual([changed('a', true)]);
  const again = watch.look([level('a', 'open')]);
  expect(again.changes).toEqual([changed('a', true)]);
  again.settled();
  expect(watch.look([level('a', 'open')]).changes).toEqual([]);
});

test('a target that the configuration has no more is forgotten', () => {
  const watch = new BreakerWatch();
  watch.look([level('a', 'open')]).settled();
  const without = watch.look([]);
  expect(without.changes).toEqual([]);
  without.settled();
  expect(watch.look([level('a', 'closed')]).changes).toEqual([]);
});
