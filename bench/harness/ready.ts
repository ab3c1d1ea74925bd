import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from './children.ts';

const pollMs = 50;

/**
 * Polls until `check` gives a value.
 * @throws Error after the time, or when the process ends before it; it then runs no longer
 */
export async function waitUntilReady<T>(child: Child, timeoutMs: number, check: () => Promise<T | null>): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  try {
    for (;;) {
      child.alive();
      const value = await check();
      if (value !== null) return value;
      if (performance.now() > deadlineMs) throw new Error(`it was not ready within ${timeoutMs / 1000} s`);
      await sleep(pollMs);
    }
  } catch (error) {
    await child.stop();
    throw error;
  }
}
