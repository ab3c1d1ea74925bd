import { readFileSync } from 'node:fs';

/**
 * Preloaded into a gateway: its wall clock is off by the milliseconds that stand in the file `CHAOS_CLOCK_FILE`, as they
 * are at the moment. Timers and `performance.now()` go on as they are, as they do when a host's clock is set.
 */
const pollMs = 100;
const file = process.env['CHAOS_CLOCK_FILE'] ?? '';
const RealDate = Date;
let offsetMs = 0;

function read(): void {
  try {
    offsetMs = Number(readFileSync(file, 'utf8'));
  } catch {
    // Not there yet: the clock is right.
  }
}

const now = () => RealDate.now() + offsetMs;

read();
setInterval(read, pollMs).unref();
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
  apply: () => new RealDate(now()).toString(),
  get: (target, name, receiver) => (name === 'now' ? now : (Reflect.get(target, name, receiver) as unknown)),
});
