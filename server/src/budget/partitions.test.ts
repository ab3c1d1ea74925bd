import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { leastId, newId } from '../base/ids.ts';
import { attemptIdMarginMs, runClockMarginMs } from '../base/limits.ts';
import { type IdRange, idRange, newestFirst } from './partitions.ts';

const has = ({ first, end }: IdRange, id: string) => (first === null || id >= first) && (end === null || id < end);
const times = fc.integer({ min: 0, max: Date.parse('2100-01-01') });
const maybe = fc.option(times);

describe('the ids of a span of time', () => {
  test('are those of every attempt that can have started in it', () => {
    fc.assert(
      fc.property(times, maybe, maybe, fc.integer({ min: 0, max: attemptIdMarginMs }), (startedAt, from, to, later) => {
        fc.pre((from === null || startedAt >= from) && (to === null || startedAt < to));
        expect(has(idRange(from, to, null), newId('att', startedAt + later))).toBe(true);
      }),
    );
  });

  test('begin with the run, whatever the clocks of two processes are apart within a day', () => {
    const runAt = Date.parse('2026-11-22T12:00:00Z');
    const { first, end } = idRange(null, null, newId('run', runAt));
    expect([first, end]).toEqual([leastId('att', runAt - runClockMarginMs), null]);
    expect(idRange(null, null, 'run_test')).toEqual({ first: null, end: null });
  });
});

describe('the pieces of a range', () => {
  test('hold each of its ids once, newest first', () => {
    fc.assert(
      fc.property(maybe, maybe, times, fc.array(times, { maxLength: 20 }), (from, to, newest, made) => {
        const range = idRange(from, to, null);
        const ids = made.map((ms) => newId('att', ms)).toSorted((a, b) => (a < b ? 1 : -1));
        const pieces = [...newestFirst(range, newest)];
        expect(pieces.length).toBeLessThanOrEqual(4);
        expect(pieces.flatMap((piece) => ids.filter((id) => has(piece, id)))).toEqual(
          ids.filter((id) => has(range, id)),
        );
      }),
    );
  });
});
