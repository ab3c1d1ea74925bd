import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Caller,
  endings,
  killedScopes,
  measureEnding,
  measureSwitch,
  newCaller,
  openStream,
  type Pair,
} from '../../test/support/stops.ts';
import {
  type Bar,
  type Bench,
  type BenchOptions,
  brief,
  type Findings,
  missedBars,
  type Sample,
  type TargetFigures,
} from '../harness/result.ts';
import { median, quantile, round } from '../harness/statistics.ts';
import { type Replica, Replicas } from './replicas.ts';

/** A replica that hears of changes, one that must ask for them, and one that is cut off. */
const targets = ['notified', 'polled', 'cut-off'] as const;
/** How the database goes away. */
const cuts = ['cut', 'freeze'] as const;
const workloads = [...killedScopes, ...endings, ...cuts];
/** Each waits for the age limit of ten seconds. */
const cutRoundsMax = 3;
const settleMs = 3_000;
const ageMaxMs = 10_000;

/** The slowest of the medians and of the 99th percentiles: what one replica is told, the other obeys within a second. */
const bars: readonly Bar[] = [
  { ratio: 'notified_median_ms', atMost: 1_000 },
  { ratio: 'notified_p99_ms', atMost: 1_000 },
  { ratio: 'polled_median_ms', atMost: 1_000 },
  { ratio: 'polled_p99_ms', atMost: 1_000 },
  { ratio: 'cut-off_max_ms', atMost: ageMaxMs + 500 },
];

/** How soon what one replica is told reaches a stream on another. */
export const control: Bench = {
  summary: 'how soon a stop, a release, a revoked key reach the calls of another replica',
  targets,
  workloads,
  defaults: { rounds: 100, durationS: 1 },
  run,
};

async function run(options: BenchOptions): Promise<Findings> {
  const { directory, progress } = options;
  progress('starting PostgreSQL and the gates');
  const replicas = await Replicas.open(directory);
  try {
    const told = await replicas.start('told', { deaf: false });
    const others = new Map<(typeof targets)[number], Replica>();
    for (const target of targets.filter((each) => options.targets.includes(each)))
      others.set(target, await replicas.start(target, { deaf: target === 'polled' }));
    const figures: Record<string, TargetFigures> = {};
    for (const [target, other] of others) {
      const pair = { told, other, model: 'endless', provider: 'mock' };
      figures[target] = await measureTarget(pair, target, other, options);
    }
    const ratios = worstOf(figures);
    return { targets: figures, ratios, missed: missedBars(asked(bars, figures), ratios), unavailable: {} };
  } finally {
    await replicas.close();
  }
}

async function measureTarget(
  pair: Pair,
  target: (typeof targets)[number],
  other: Replica,
  { rounds, workloads: chosen, progress }: BenchOptions,
): Promise<TargetFigures> {
  const caller = await newCaller(pair);
  const taken: Record<string, Sample[]> = {};
  for (const name of chosen) {
    const measure = target === 'cut-off' ? cutOff(pair, other, name) : measureOf(pair, caller, name);
    if (measure === null) continue;
    const samples: Sample[] = [];
    const count = target === 'cut-off' ? Math.min(rounds, cutRoundsMax) : rounds;
    while (samples.length < count) samples.push(await measure());
    taken[name] = samples;
    progress(`${target}, ${name}: ${brief(summary(samples))}`);
  }
  const summaries = Object.entries(taken).map(([name, samples]) => [name, summary(samples)] as const);
  return { workloads: Object.fromEntries(summaries), samples: taken };
}

function measureOf(pair: Pair, caller: Caller, name: string): (() => Promise<Sample>) | null {
  const scope = killedScopes.find((each) => each === name);
  const ending = endings.find((each) => each === name);
  if (ending !== undefined) return async () => ({ stop: await measureEnding(pair, ending) });
  if (scope === undefined) return null;
  return async () => {
    const { engageMs, releaseMs } = await measureSwitch(pair, caller, scope);
    return { stop: engageMs, release: releaseMs };
  };
}

/** A replica that loses its database in the middle of a stream. */
function cutOff(pair: Pair, { link }: Replica, name: string): (() => Promise<Sample>) | null {
  const how = cuts.find((each) => each === name);
  if (how === undefined) return null;
  return async () => {
    const stream = await openStream(pair, await newCaller(pair));
    const cutAt = performance.now();
    link[how]();
    const endedAt = await stream.ended;
    stream.requireError('unavailable');
    link.mend();
    await sleep(settleMs);
    return { stop: endedAt - cutAt };
  };
}

/** Of each time its median, 99th percentile and maximum. */
function summary(samples: readonly Sample[]): Sample {
  const names = Object.keys(samples[0] ?? {});
  const figures = names.flatMap((name) => {
    const values = samples.flatMap((sample) => sample[name] ?? []);
    const entries = { median: median(values), p99: quantile(values, 0.99), max: Math.max(...values) };
    return Object.entries(entries).map(([of, value]) => [`${name}_${of}_ms`, round(value)] as const);
  });
  return Object.fromEntries(figures);
}

/** The slowest way of each target to stop. */
function worstOf(figures: Readonly<Record<string, TargetFigures>>): Sample {
  const entries = Object.entries(figures).flatMap(([target, { workloads: of }]) =>
    ['median', 'p99', 'max'].map((name) => {
      const values = Object.values(of).map((sample) => sample[`stop_${name}_ms`] ?? Number.NaN);
      return [`${target}_${name}_ms`, Math.max(...values)] as const;
    }),
  );
  return Object.fromEntries(entries.filter(([, value]) => Number.isFinite(value)));
}

/** The bars of what was asked to be measured. */
function asked(all: readonly Bar[], figures: Readonly<Record<string, TargetFigures>>): readonly Bar[] {
  return all.filter(({ ratio }) => Object.keys(figures).some((target) => ratio.startsWith(target)));
}
