import type { Machine } from './machine.ts';
import type { Versions } from './versions.ts';
import { median, round } from './statistics.ts';

/** What a benchmark takes from the command line. */
export interface BenchOptions {
  readonly rounds: number;
  readonly durationS: number;
  /** Everything short, for CI: shows that it runs, says nothing about speed. */
  readonly smoke: boolean;
  /** Only these are measured. */
  readonly targets: readonly string[];
  readonly workloads: readonly string[];
  /** How many attempts are seeded, and by which random numbers. */
  readonly attempts: number;
  readonly seed: number;
  /** The folder of what was seeded, to be kept and used again; null is none. */
  readonly data: string | null;
  /** A folder of its own that is removed afterwards. */
  readonly directory: string;
  readonly progress: (text: string) => void;
}

export interface Bench {
  readonly summary: string;
  readonly targets: readonly string[];
  readonly workloads: readonly string[];
  readonly defaults: { readonly rounds: number; readonly durationS: number };
  run(options: BenchOptions): Promise<Findings>;
}

/** One measurement: figures by name, the unit last in the name. */
export type Sample = Readonly<Record<string, number>>;

export const mainFigures = ['rps', 'cpu_us_per_request', 'p50_ms', 'p99_ms', 'rss_mib'] as const;

/** The main workload's figures, and all workloads and (as they were measured) rounds by name. */
export interface TargetFigures extends Partial<Record<(typeof mainFigures)[number], number>> {
  readonly workloads: Readonly<Record<string, Sample>>;
  readonly samples: Readonly<Record<string, readonly Sample[]>>;
}

/** A promise about a ratio: at most, or at least, this. */
export interface Bar {
  readonly ratio: string;
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface Missed extends Bar {
  /** Null when it could not be measured. */
  readonly measured: number | null;
}

export interface Findings {
  readonly targets: Readonly<Record<string, TargetFigures>>;
  readonly ratios: Sample;
  readonly missed: readonly Missed[];
  /** Targets that could not be measured, and why. */
  readonly unavailable: Readonly<Record<string, string>>;
}

/** Measurements as they are taken: by target, by workload, one a round. */
export type Samples = Map<string, Map<string, Sample[]>>;

/** What the rounds come to; a target's main figures are those of workload `main`. */
export function figuresOf(samples: Samples, main: string | undefined): Record<string, TargetFigures> {
  const figures = [...samples].map(([target, taken]) => {
    const workloads = Object.fromEntries([...taken].map(([name, rounds]) => [name, summarize(rounds)]));
    const own = Object.entries(workloads[main ?? ''] ?? {}).filter(([name]) =>
      mainFigures.some((each) => each === name),
    );
    return [target, { ...Object.fromEntries(own), workloads, samples: Object.fromEntries(taken) }] as const;
  });
  return Object.fromEntries(figures);
}

/** A sample in one line, to show progress. */
export function brief(sample: Sample): string {
  return Object.entries(sample)
    .map(([name, value]) => `${name} ${round(value)}`)
    .join(', ');
}

/** What is printed as JSON. */
export interface BenchResult extends Findings {
  readonly bench: string;
  readonly machine: Machine;
  readonly versions: Versions;
}

/** Figures of which the worst counts, not the one in the middle. */
const worstOf = new Set([
  'errors',
  'failed',
  'gaps_over_1s',
  'gap_max_ms',
  'rss_mib',
  'rss_growth_mib',
  'missing_rows',
  'false_refusals',
  'refused_with_room_calls',
  'outstanding_calls',
  'overspent_calls',
  'unused_in_the_end_calls',
]);

/** One figure for each name: the median of the rounds, or the worst of them. */
export function summarize(samples: readonly Sample[]): Sample {
  const names = Object.keys(samples[0] ?? {});
  return Object.fromEntries(
    names.map((name) => {
      const values = samples.map((sample) => sample[name] ?? Number.NaN);
      return [name, round(worstOf.has(name) ? Math.max(...values) : median(values))];
    }),
  );
}

/** Ratios as they are told: without those of which a side was not measured. */
export function measured(ratios: Sample): Sample {
  const finite = Object.entries(ratios).filter(([, value]) => Number.isFinite(value));
  return Object.fromEntries(finite.map(([name, value]) => [name, round(value)]));
}

/** The bars that the ratios do not keep; a ratio that is absent keeps none. */
export function missedBars(bars: readonly Bar[], ratios: Sample): Missed[] {
  return bars.flatMap((bar) => {
    const measured = ratios[bar.ratio] ?? null;
    const kept =
      measured !== null && measured <= (bar.atMost ?? Number.POSITIVE_INFINITY) && measured >= (bar.atLeast ?? 0);
    return kept ? [] : [{ ...bar, measured }];
  });
}
