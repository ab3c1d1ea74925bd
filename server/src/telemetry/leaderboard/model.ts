import type { Interval } from './intervals.ts';

/** What is counted of a version's runs that ended in the window: whole numbers, exactly. */
export interface VersionSums {
  /** Its digest; empty is runs that named none. */
  readonly promptVersion: string;
  /** Null where it was not registered. */
  readonly label: string | null;
  /** Empty where it is of all models, or the runs called none; '*' is several. */
  readonly model: string;
  readonly succeeded: bigint;
  readonly failed: bigint;
  readonly cancelled: bigint;
  readonly costNanousd: bigint;
  readonly succeededNanousd: bigint;
  readonly costSquares: bigint;
  /** Runs that were rated; the sums are of the mean of each run's ratings, in millionths. Of evaluations likewise. */
  readonly ratings: bigint;
  readonly ratingPpm: bigint;
  readonly ratingSquares: bigint;
  readonly evaluations: bigint;
  readonly evaluationPpm: bigint;
  readonly evaluationSquares: bigint;
  /** How long runs took that succeeded (telemetry/histogram.ts). */
  readonly durations: ReadonlyMap<number, bigint>;
}

/** What was observed of one measure. */
export interface Measure {
  readonly value: number;
  /** Null where there is too little for one. */
  readonly interval: Interval | null;
  /** Of how many runs. */
  readonly n: number;
}

/** Null is: nothing to tell it by. */
export interface Measures {
  /** Share of succeeded of succeeded + failed. */
  readonly success: Measure | null;
  /** Nano-USD, of all runs that ended, by the successes. */
  readonly costPerSuccess: Measure | null;
  /** Milliseconds, of runs that succeeded. */
  readonly durationP50: Measure | null;
  readonly durationP95: Measure | null;
  /** 1 to 5. */
  readonly rating: Measure | null;
  /** 0 to 1. */
  readonly evaluation: Measure | null;
}

/** The parts of a score. */
export const scoreParts = ['success', 'cost', 'duration', 'rating', 'evaluation'] as const;
export type ScorePart = (typeof scoreParts)[number];

/** How much each part counts: from 0, in any unit, not all 0. */
export type Weights = Readonly<Record<ScorePart, number>>;

export const presetNames = ['balanced', 'quality', 'cost', 'speed'] as const;
export type Preset = (typeof presetNames)[number];

/** In none of them does it pay to be cheap or fast and fail: these parts are at most what success is (rules.ts). */
export const presets: Readonly<Record<Preset, Weights>> = {
  balanced: { success: 0.4, cost: 0.2, duration: 0.1, rating: 0.15, evaluation: 0.15 },
  quality: { success: 0.5, cost: 0, duration: 0, rating: 0.25, evaluation: 0.25 },
  cost: { success: 0.3, cost: 0.6, duration: 0, rating: 0.05, evaluation: 0.05 },
  speed: { success: 0.3, cost: 0, duration: 0.6, rating: 0.05, evaluation: 0.05 },
};

/** A version's place on the board. */
export interface Standing {
  /** From 1; equal scores share one. */
  readonly rank: number;
  /** 0 to 1. */
  readonly score: number;
  /** 0 to 1; what the version does not have is absent, and does not count. */
  readonly parts: Readonly<Partial<Record<ScorePart, number>>>;
}

export interface MeasuredVersion {
  readonly sums: VersionSums;
  readonly measures: Measures;
}

export interface BoardEntry extends MeasuredVersion {
  /** Null: not enough data. */
  readonly standing: Standing | null;
}
