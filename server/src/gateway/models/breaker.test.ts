import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  breakerFailuresMax,
  breakerOpenMs,
  breakerOpenMsMax,
  breakerProbeMs,
  breakerProbesMax,
  breakerRetryAfterMsMax,
} from '../../base/limits.ts';
import { Breaker, type Fail, type Leave } from './breaker.ts';
import { ManualClock } from './testing/routes.ts';

const broken: Fail = { doubtful: false, restMs: null };
const late: Fail = { doubtful: true, restMs: null };
const limited = (restMs: number | null): Fail => ({ doubtful: true, restMs });

function opened(): { clock: ManualClock; breaker: Breaker } {
  const clock = new ManualClock();
  const breaker = new Breaker(clock);
  for (let i = 0; i < breakerFailuresMax; i++) breaker.enter('a')?.fail(broken);
  return { clock, breaker };
}

describe('a breaker', () => {
  test('opens after so many failures in a row, and lets nobody in until its time is over', () => {
    const { clock, breaker } = opened();
    expect([breaker.state, breaker.enter('a'), breaker.retryAfterMs]).toEqual(['open', null, breakerOpenMs]);
    clock.ms += breakerOpenMs - 1;
    expect(breaker.enter('a')).toBe(null);
    clock.ms += 1;
    expect(breaker.state).toBe('half_open');
  });

  test('does not open where a success lies between failures, or where nothing was learned', () => {
    const breaker = new Breaker(new ManualClock());
    for (let i = 0; i < 100; i++) {
      if (i % breakerFailuresMax === 0) breaker.enter('a')?.succeed();
      else breaker.enter('a')?.fail(broken);
    }
    for (let i = 0; i < 100; i++) breaker.enter('a')?.release();
    expect(breaker.state).toBe('closed');
  });

  test('lets a few probes in when half open: the first success closes it, whatever the others find', () => {
    const { clock, breaker } = opened();
    clock.ms += breakerOpenMs;
    const probes = Array.from({ length: breakerProbesMax }, () => breaker.enter('a'));
    expect(probes).not.toContain(null);
    expect(breaker.enter('a')).toBe(null);
    probes[0]?.succeed();
    expect(breaker.state).toBe('closed');
    probes[1]?.fail(broken);
    expect([breaker.state, breaker.isPristine]).toEqual(['closed', true]);
  });

  test('opens for twice as long each time that a probe fails, up to a limit, and for its usual time after a success', () => {
    const { clock, breaker } = opened();
    for (let ms = breakerOpenMs; ms < breakerOpenMsMax * 4; ms *= 2) {
      expect(breaker.retryAfterMs).toBe(Math.min(ms, breakerOpenMsMax));
      clock.ms += breaker.retryAfterMs;
      breaker.enter('a')?.fail(broken);
    }
    clock.ms += breaker.retryAfterMs;
    breaker.enter('a')?.succeed();
    for (let i = 0; i < breakerFailuresMax; i++) breaker.enter('a')?.fail(broken);
    expect(breaker.retryAfterMs).toBe(breakerOpenMs);
  });

  test('gives a place back to the next probe when one learned nothing', () => {
    const { clock, breaker } = opened();
    clock.ms += breakerOpenMs;
    for (let i = 0; i < 50; i++) {
      const probe = breaker.enter('a');
      expect(probe).not.toBe(null);
      probe?.release();
      probe?.release();
    }
    expect(breaker.state).toBe('half_open');
  });

  test('lets another probe in when one takes long, and is not opened again by waiting for it', () => {
    const { clock, breaker } = opened();
    clock.ms += breakerOpenMs;
    const slow = Array.from({ length: breakerProbesMax }, () => breaker.enter('a'));
    expect([breaker.enter('b'), breaker.retryAfterMs]).toEqual([null, breakerProbeMs]);
    clock.ms += breakerProbeMs;
    const others = Array.from({ length: breakerProbesMax }, () => breaker.enter('b'));
    expect(others).not.toContain(null);
    expect(breaker.enter('b')).toBe(null);
    // A place that was lost is not given back a second time.
    slow[0]?.release();
    expect(breaker.enter('b')).toBe(null);
    slow[1]?.succeed();
    expect(breaker.state).toBe('closed');
  });

  test('leaves a provider alone for as long as it asked two callers in a row, up to a limit', () => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock);
    breaker.enter('a')?.fail(limited(2_000));
    expect(breaker.state).toBe('closed');
    breaker.enter('b')?.fail(limited(2_000));
    expect([breaker.state, breaker.retryAfterMs]).toEqual(['open', 2_000]);
    clock.ms += 2_000;
    breaker.enter('a')?.fail(limited(24 * 3_600_000));
    expect(breaker.retryAfterMs).toBe(breakerRetryAfterMsMax);
    clock.ms += breakerRetryAfterMsMax;
    breaker.enter('b')?.succeed();
    breaker.enter('a')?.fail(broken);
    breaker.enter('b')?.fail(limited(2_000));
    breaker.enter('a')?.fail(limited(0));
    expect(breaker.state).toBe('closed');
  });

  test.each([late, limited(null), limited(20_000)])(
    'is shut by nobody alone who makes it fail by what it asks for: %o',
    (fail) => {
      const { clock, breaker } = opened();
      clock.ms += breakerOpenMs;
      breaker.enter('a')?.succeed();
      for (let i = 0; i < 100; i++) breaker.enter('a')?.fail(fail);
      expect(breaker.state).toBe('closed');
      for (let i = 1; i < breakerFailuresMax; i++) breaker.enter(i % 2 ? 'b' : 'c')?.fail(fail);
      expect(breaker.state).toBe('open');
      // Nor is it kept so.
      clock.ms += breakerOpenMsMax;
      const { state } = breaker;
      const lastCaller = fail.restMs === null && breakerFailuresMax % 2 === 1 ? 'c' : 'b';
      for (let i = 0; i < 100; i++) breaker.enter(lastCaller)?.fail(fail);
      expect([state, breaker.state]).toEqual(['half_open', 'half_open']);
    },
  );

  test('an attempt from before it opened neither closes it nor opens it again', () => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock);
    const [early, tardy] = [breaker.enter('a'), breaker.enter('a')];
    for (let i = 0; i < breakerFailuresMax; i++) breaker.enter('a')?.fail(broken);
    early?.succeed();
    expect(breaker.state).toBe('open');
    clock.ms += breakerOpenMs;
    tardy?.fail(broken);
    expect(breaker.state).toBe('half_open');
  });
});

/** What happens to a breaker, in any order. */
type Step =
  | { enter: string }
  | { end: 'succeed' | 'fail' | 'rest' | 'late' | 'release'; which: number }
  | { pass: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ enter: fc.constantFrom('a', 'b') }) },
  {
    weight: 4,
    arbitrary: fc.record({
      end: fc.constantFrom('succeed', 'fail', 'fail', 'rest', 'late', 'release'),
      which: fc.nat(20),
    }),
  },
  { weight: 2, arbitrary: fc.record({ pass: fc.nat(20_000) }) },
);

test('in any order of things: open lets nobody in, half open a few at a time, and it always recovers', () => {
  const fails = { fail: broken, rest: limited(1_500), late };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const clock = new ManualClock();
      const breaker = new Breaker(clock);
      let out: Leave[] = [];
      let probes: { leave: Leave; until: number }[] = [];
      let failures = 0;
      for (const each of steps) {
        const before = breaker.state;
        probes = probes.filter(({ until }) => until > clock.ms);
        const entered = 'enter' in each ? breaker.enter(each.enter) : null;
        const hasRoom = before === 'closed' || (before === 'half_open' && probes.length < breakerProbesMax);
        expect(entered !== null).toBe('enter' in each && hasRoom);
        if (entered && before === 'half_open') probes.push({ leave: entered, until: clock.ms + breakerProbeMs });
        if (entered) out.push(entered);
        if ('pass' in each) clock.ms += each.pass;
        if ('end' in each) {
          const leave = out[each.which % Math.max(1, out.length)];
          out = out.filter((other) => other !== leave);
          probes = probes.filter((probe) => probe.leave !== leave);
          if (each.end === 'succeed') leave?.succeed();
          else if (each.end === 'release') leave?.release();
          else leave?.fail(fails[each.end]);
          failures += leave && each.end in fails ? 1 : 0;
        }
        const after = breaker.state;
        // Probes of an earlier half-open time count no more.
        if (before !== after && after !== 'half_open') probes = [];
        expect(after === 'closed' || failures > 0).toBe(true);
        expect(breaker.retryAfterMs).toBeLessThanOrEqual(breakerOpenMsMax);
      }
      for (const leave of out) leave.release();
      clock.ms += breakerOpenMsMax;
      breaker.enter('a')?.succeed();
      expect(breaker.state).toBe('closed');
    }),
  );
});
