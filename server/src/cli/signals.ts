import { once } from 'node:events';
import type { CliContext, RunningGate } from './context.ts';

/** Waits for SIGINT or SIGTERM, then drains; a second signal ends the process at once. */
export async function drainOnSignal(gate: RunningGate, { stderr }: CliContext): Promise<void> {
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  stderr.write('\nDraining: no new calls, streams may end. Again to stop at once.\n');
  const impatient = () => process.exit(130);
  process.once('SIGINT', impatient).once('SIGTERM', impatient);
  await gate.drain();
  process.off('SIGINT', impatient).off('SIGTERM', impatient);
  stderr.write('Stopped.\n');
}
