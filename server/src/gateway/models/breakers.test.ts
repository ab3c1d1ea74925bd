import { describe, expect, test } from 'vitest';
import { breakerFailuresMax, breakersMax } from '../../base/limits.ts';
import type { Breaker } from './breaker.ts';
import { Breakers } from './breakers.ts';
import { ManualClock } from './testing/routes.ts';

function fail(breaker: Breaker): void {
  for (let i = 0; i < breakerFailuresMax; i++) breaker.enter('a')?.fail({ doubtful: false, restMs: null });
}

describe('the breakers of a configuration', () => {
  test('are one for each model of a provider, by whatever route it is reached', () => {
    const breakers = new Breakers(new ManualClock());
    const wildcard = breakers.forTarget('claude', 'claude-*');
    const named = breakers.forTarget('claude', 'claude-haiku');
    const elsewhere = breakers.forTarget('other', 'claude-haiku');
    expect(wildcard('claude-haiku')).toBe(named('claude-haiku'));
    expect(wildcard('claude-opus')).not.toBe(named('claude-haiku'));
    expect(elsewhere('claude-haiku')).not.toBe(named('claude-haiku'));
  });

  test('tell of each target by its configured base name, whatever callers asked for', () => {
    const breakers = new Breakers(new ManualClock());
    const wildcard = breakers.forTarget('lab', 'any-*');
    breakers.forTarget('lab', '/home/someone/models/qwen.gguf');
    fail(wildcard('any-bad'));
    wildcard('any-good').enter('a')?.succeed();
    expect(breakers.levels()).toEqual([
      { provider: 'lab', model: 'any-*', state: 'open' },
      { provider: 'lab', model: 'qwen.gguf', state: 'closed' },
    ]);
  });

  test('are bounded, and names that callers make up push out none that remembers a failure', () => {
    const clock = new ManualClock();
    const breakers = new Breakers(clock);
    const wildcard = breakers.forTarget('lab', '*');
    fail(wildcard('broken'));
    const forgotten = wildcard('made-up-0');
    for (let i = 0; i < breakersMax * 3; i++) wildcard(`made-up-${i}`);
    expect(wildcard('made-up-0')).not.toBe(forgotten);
    expect(wildcard('broken').state).toBe('open');

    for (let i = 0; i < breakersMax * 3; i++) fail(wildcard(`down-${i}`));
    // Those for which there is no room stand and fall together.
    expect(wildcard('yet-another').state).toBe('open');
    expect(wildcard('yet-another')).toBe(wildcard('and-another'));
  });
});
