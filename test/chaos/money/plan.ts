import { Random } from '../random.ts';
import { type DatabaseEnd, databaseEnds } from './database.ts';

export const replicaCount = 4;

/** What goes wrong. Times are milliseconds; gates are numbered from 0. */
export type Fault =
  /** One that serves: this, or else the next; or this, whatever it is doing. */
  | { readonly do: 'kill'; readonly gate: number; readonly serving: boolean }
  | { readonly do: 'pause'; readonly gate: number; readonly ms: number }
  | { readonly do: 'shift'; readonly gate: number; readonly offsetMs: number }
  | { readonly do: 'jump'; readonly ms: number }
  | { readonly do: 'strike'; readonly how: DatabaseEnd }
  | { readonly do: 'raise' }
  | { readonly do: 'burst'; readonly calls: number };

export type Timed = Fault & { readonly atMs: number };

export interface PlanOptions {
  readonly kills: number;
  readonly durationMs: number;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Longer than a gateway may be silent before the others post what it held (base/limits.ts, instanceDeadMs). */
const pauseMs = { least: 21_000, most: 27_000 };
const everyMs = { pause: 75_000, shift: 15_000, jump: 40_000, strike: 50_000, raise: 6_000, burst: 45_000 };
/** In the last stretch no window changes, so that the last windows have calls that are theirs beyond doubt. */
const calmMs = 45_000;

/** All that goes wrong in a run: a pure function of the seed and the options, in the order of time. */
export function planOf(seed: number, options: PlanOptions): Timed[] {
  const pauses = pausesOf(Random.of(seed, 1), options);
  return [
    ...pauses,
    ...killsOf(Random.of(seed, 2), options, pauses),
    ...every(Random.of(seed, 3), options, everyMs.shift, (random): Fault => ({
      do: 'shift',
      gate: random.int(0, replicaCount - 1),
      offsetMs: random.pick([0, random.int(-1_000, 1_000), random.int(-2 * hourMs, 2 * hourMs), dayMs, -dayMs]),
    })),
    ...jumpsOf(Random.of(seed, 4), options),
    ...strikesOf(Random.of(seed, 5), options),
    ...every(Random.of(seed, 6), options, everyMs.raise, (): Fault => ({ do: 'raise' })),
    ...every(Random.of(seed, 7), options, everyMs.burst, (): Fault => ({ do: 'burst', calls: 500 })),
  ].toSorted((a, b) => a.atMs - b.atMs);
}

type Pause = Extract<Timed, { do: 'pause' }>;

function pausesOf(random: Random, options: PlanOptions): Pause[] {
  // One that would end after the run shows nothing.
  if (options.durationMs < minuteMs) return [];
  return every(random, options, everyMs.pause, (): Fault & { do: 'pause' } => ({
    do: 'pause',
    gate: random.int(0, replicaCount - 1),
    ms: random.int(pauseMs.least, pauseMs.most),
  }));
}

/** Evenly over the run, each at a moment of chance; what is stopped is left to wake up. */
function killsOf(random: Random, { kills, durationMs }: PlanOptions, pauses: readonly Pause[]): Timed[] {
  const slotMs = durationMs / kills;
  return Array.from({ length: kills }, (_, i) => {
    const atMs = Math.round((i + random.next()) * slotMs);
    const stopped = new Set(
      pauses.filter((pause) => pause.atMs - 1_000 < atMs && atMs < pause.atMs + pause.ms).map(({ gate }) => gate),
    );
    const gates = Array.from({ length: replicaCount }, (_each, gate) => gate).filter((gate) => !stopped.has(gate));
    return { do: 'kill', atMs, gate: gates[random.int(0, gates.length - 1)] ?? 0, serving: random.chance(0.85) };
  });
}

function jumpsOf(random: Random, { durationMs }: PlanOptions): Timed[] {
  const lastMs = Math.max(durationMs - calmMs, durationMs / 2);
  const jumps = every(random, { durationMs: lastMs }, everyMs.jump, (): Fault & { do: 'jump' } => {
    const ms = random.pick([
      hourMs,
      hourMs,
      hourMs,
      dayMs,
      random.int(1_000, 90_000),
      -random.int(1_000, 20 * minuteMs),
    ]);
    return { do: 'jump', ms };
  });
  let offsetMs = 0;
  let furthestMs = 0;
  for (const { ms } of jumps) {
    offsetMs += ms;
    furthestMs = Math.max(furthestMs, offsetMs);
  }
  // What was set back is set right: until then whoever was seen last seems to live.
  return [...jumps, { do: 'jump', atMs: Math.round(lastMs), ms: furthestMs - offsetMs + hourMs }];
}

/** Every way in turn, in an order of chance after the hardest. */
function strikesOf(random: Random, options: PlanOptions): Timed[] {
  let left: DatabaseEnd[] = ['postmaster'];
  return every(random, options, everyMs.strike, (): Fault => {
    if (left.length === 0) left = [...databaseEnds];
    const [how = databaseEnds[0]] = left.splice(random.int(0, left.length - 1), 1);
    return { do: 'strike', how };
  });
}

/** Something once in each stretch of so many milliseconds, and once at least. */
function every<F extends Fault>(
  random: Random,
  { durationMs }: Pick<PlanOptions, 'durationMs'>,
  ms: number,
  fault: (random: Random) => F,
): (F & { readonly atMs: number })[] {
  const count = Math.max(1, Math.floor(durationMs / ms));
  const slotMs = durationMs / count;
  return Array.from({ length: count }, (_, i) => ({
    ...fault(random),
    atMs: Math.round((i + 0.2 + 0.6 * random.next()) * slotMs),
  }));
}
