import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SilenceWatch } from './silence-watch.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a silence is told when it has lasted, and again, and no more after the stop', () => {
  const tell = vi.fn<() => void>();
  const watch = new SilenceWatch(100, tell);
  vi.advanceTimersByTime(99);
  expect(tell).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(tell).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(100);
  expect(tell).toHaveBeenCalledTimes(2);
  watch.stop();
  vi.advanceTimersByTime(1_000);
  expect(tell).toHaveBeenCalledTimes(2);
});

test('a silence that is broken begins anew, to the millisecond', () => {
  const tell = vi.fn<() => void>();
  const watch = new SilenceWatch(100, tell);
  for (let i = 0; i < 50; i++) {
    vi.advanceTimersByTime(37);
    watch.broken();
  }
  expect(tell).not.toHaveBeenCalled();
  vi.advanceTimersByTime(99);
  expect(tell).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(tell).toHaveBeenCalledTimes(1);
  watch.stop();
});
