import { once } from 'node:events';
import type { CliContext, RunningGate } from './context.ts';

/**
 * Starts a gate and keeps it until SIGINT or SIGTERM, then drains it. A signal during the start is obeyed as soon as there
 * is something to drain; a second one ends the process at once.
 * @param started told when the gate listens
 */
export async function runUntilSignal(
  start: () => Promise<RunningGate>,
  started: (gate: RunningGate) => void,
  { stderr }: CliContext,
): Promise<void> {
  const listening = new AbortController();
  const signalled = Promise.race(
    (['SIGINT', 'SIGTERM'] as const).map((name) => once(process, name, { signal: listening.signal })),
  );
  // A start that fails is told below, whatever becomes of the signals.
  signalled.catch(() => undefined);
  const impatient = () => process.exit(130);
  try {
    const gate = await start();
    started(gate);
    await signalled;
    stderr.write('\nDraining: no new calls, streams may end. Again to stop at once.\n');
    process.on('SIGINT', impatient).on('SIGTERM', impatient);
    await gate.drain();
    stderr.write('Stopped.\n');
  } finally {
    listening.abort();
    process.off('SIGINT', impatient).off('SIGTERM', impatient);
  }
}
