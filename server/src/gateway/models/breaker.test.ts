import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  breakerFailuresMax,
  breakerOpenMs,
  breakerOpenMsMax,
  breakerProbesMax,
  breakerRetryAfterMsMax,
} from '../../base/limits.ts';
import { Breaker, type Leave } from './breaker.ts';
import { ManualClock } from './testing/routes.ts';

function opened(): { clock: ManualClock; breaker: Breaker } {
  const clock = new ManualClock();
  const breaker = new Breaker(clock);
  for (let i = 0; i < breakerFailuresMax; i++) breaker.enter()?.fail(null);
  return { clock, breaker };
}

describe('a breaker', () => {
  test('opens after so many failures in a row, and lets nobody in until its time is over', () => {
    const { clock, breaker } = opened();
    expect([breaker.state, breaker.enter(), breaker.retryAfterMs]).toEqual(['open', null, breakerOpenMs]);
    clock.ms += breakerOpenMs - 1;
    expect(breaker.enter()).toBe(null);
    clock.ms += 1;
    expect(breaker.state).toBe('half_open');
  });

  test('does not open where a success lies between failures, or where nothing was learned', () => {
    const breaker = new Breaker(new ManualClock());
    for (let i = 0; i < 100; i++) {
      if (i % breakerFailuresMax === 0) breaker.enter()?.succeed();
      else breaker.enter()?.fail(null);
    }
    for (let i = 0; i < 100; i++) breaker.enter()?.release();
    expect(breaker.state).toBe('closed');
  });

  test('lets a few probes in when half open: the first success closes it, whatever the others find', () => {
    const { clock, breaker } = opened();
    clock.ms += breakerOpenMs;
    const probes = Array.from({ length: breakerProbesMax }, () => breaker.enter());
    expect(probes).not.toContain(null);
    expect(breaker.enter()).toBe(null);
    probes[0]?.succeed();
    expect(breaker.state).toBe('closed');
    probes[1]?.fail(null);
    expect([breaker.state, breaker.isPristine]).toEqual(['closed', true]);
  });

  test('opens for twice as long each time that a probe fails, up to a limit, and for its usual time after a success', () => {
    const { clock, breaker } = opened();
    for (let ms = breakerOpenMs; ms < breakerOpenMsMax * 4; ms *= 2) {
      expect(breaker.retryAfterMs).toBe(Math.min(ms, breakerOpenMsMax));
      clock.ms += breaker.retryAfterMs;
      breaker.enter()?.fail(null);
    }
    clock.ms += breaker.retryAfterMs;
    breaker.enter()?.succeed();
    for (let i = 0; i < breakerFailuresMax; i++) breaker.enter()?.fail(null);
    expect(breaker.retryAfterMs).toBe(breakerOpenMs);
  });

  test('gives a place back to the next probe when one learned nothing', () => {
    const { clock, breaker } = opened();
    clock.ms += breakerOpenMs;
    for (let i = 0; i < 50; i++) {
      const probe = breaker.enter();
      expect(probe).not.toBe(null);
      probe?.release();
      probe?.release();
    }
    expect(breaker.state).toBe('half_open');
  });

  test('leaves a provider alone for as long as it asks, up to a limit', () => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock);
    breaker.enter()?.fail(2_000);
    expect([breaker.state, breaker.retryAfterMs]).toEqual(['open', 2_000]);
    clock.ms += 2_000;
    breaker.enter()?.fail(24 * 3_600_000);
    expect(breaker.retryAfterMs).toBe(breakerRetryAfterMsMax);
    clock.ms += breakerRetryAfterMsMax;
    breaker.enter()?.succeed();
    breaker.enter()?.fail(0);
    expect(breaker.state).toBe('closed');
  });

  test('an attempt from before it opened neither closes it nor opens it again', () => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock);
    const [early, late] = [breaker.enter(), breaker.enter()];
    for (let i = 0; i < breakerFailuresMax; i++) breaker.enter()?.fail(null);
    early?.succeed();
    expect(breaker.state).toBe('open');
    clock.ms += breakerOpenMs;
    late?.fail(null);
    expect(breaker.state).toBe('half_open');
  });
});

/** What happens to a breaker, in any order. */
type Step = { enter: true } | { end: 'succeed' | 'fail' | 'rest' | 'release'; which: number } | { pass: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ enter: true as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      end: fc.constantFrom('succeed', 'fail', 'fail', 'rest', 'release'),
      which: fc.nat(20),
    }),
  },
  { weight: 2, arbitrary: fc.record({ pass: fc.nat(20_000) }) },
);

test('in any order of things: open lets nobody in, half open a few at a time, and it always recovers', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const clock = new ManualClock();
      const breaker = new Breaker(clock);
      let out: Leave[] = [];
      let probes: Leave[] = [];
      let failures = 0;
      for (const each of steps) {
        const before = breaker.state;
        const entered = 'enter' in each ? breaker.enter() : null;
        const hasRoom = before === 'closed' || (before === 'half_open' && probes.length < breakerProbesMax);
        expect(entered !== null).toBe('enter' in each && hasRoom);
        if (entered && before === 'half_open') probes.push(entered);
        if (entered) out.push(entered);
        if ('pass' in each) clock.ms += each.pass;
        if ('end' in each) {
          const leave = out[each.which % Math.max(1, out.length)];
          out = out.filter((other) => other !== leave);
          probes = probes.filter((other) => other !== leave);
          if (each.end === 'succeed') leave?.succeed();
          else if (each.end === 'release') leave?.release();
          else leave?.fail(each.end === 'rest' ? 1_500 : null);
          failures += leave && (each.end === 'fail' || each.end === 'rest') ? 1 : 0;
        }
        const after = breaker.state;
        // Probes of an earlier half-open time count no more.
        if (before !== after && after !== 'half_open') probes = [];
        expect(probes.length).toBeLessThanOrEqual(breakerProbesMax);
        expect(after === 'closed' || failures > 0).toBe(true);
        expect(breaker.retryAfterMs).toBeLessThanOrEqual(breakerOpenMsMax);
      }
      for (const leave of out) leave.release();
      clock.ms += breakerOpenMsMax;
      breaker.enter()?.succeed();
      expect(breaker.state).toBe('closed');
    }),
  );
});
