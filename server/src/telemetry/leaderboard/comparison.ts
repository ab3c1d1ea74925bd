import { comparedTasksMin } from '../../base/telemetry-limits.ts';
import { type Interval, within } from './intervals.ts';
import { signTest } from './sign-test.ts';
import { studentT95 } from './student-t.ts';

/** What a version made of one task: runs that succeeded or failed. */
export interface TaskSums {
  readonly runs: number;
  readonly succeeded: number;
  readonly costNanousd: number;
}

/** Differences of two versions, the second less the first, over the tasks that both tried. */
export interface PairedDifference {
  readonly mean: number;
  /** Over tasks; null of costs that differ by the same in all: that tells of no spread. */
  readonly interval: Interval | null;
  /** Tasks in which the second has more, less, and the same. */
  readonly more: number;
  readonly less: number;
  readonly same: number;
  /** Of the exact sign test, two-sided. */
  readonly p: number;
}

export interface Comparison {
  readonly tasks: number;
  /** Of success rates; null: not enough data. */
  readonly success: PairedDifference | null;
  /** Of costs per run, in nano-USD; null: not enough data. */
  readonly cost: PairedDifference | null;
}

/** Compares two versions task by task: both had the same work, whatever else each was given. */
export function comparePaired(first: ReadonlyMap<string, TaskSums>, second: ReadonlyMap<string, TaskSums>): Comparison {
  const pairs = [...first].flatMap(([task, one]) => {
    const other = second.get(task);
    return other && one.runs > 0 && other.runs > 0 ? [[one, other] as const] : [];
  });
  // Sums of fractions depend on their order, which nobody fixed.
  const differences = (of: (sums: TaskSums) => number) =>
    pairs.map(([one, other]) => of(other) - of(one)).toSorted((a, b) => a - b);
  return {
    tasks: pairs.length,
    success: differenceOf(
      differences(({ succeeded, runs }) => succeeded / runs),
      boundedInterval,
    ),
    cost: differenceOf(
      differences(({ costNanousd, runs }) => costNanousd / runs),
      studentInterval,
    ),
  };
}

function differenceOf(
  differences: readonly number[],
  intervalOf: (differences: readonly number[]) => Interval | null,
): PairedDifference | null {
  const n = differences.length;
  if (n < comparedTasksMin) return null;
  const more = differences.filter((difference) => difference > 0).length;
  const less = differences.filter((difference) => difference < 0).length;
  return {
    mean: meanOf(differences),
    interval: intervalOf(differences),
    more,
    less,
    same: n - more - less,
    p: signTest(more, less),
  };
}

/** Of what lies between -1 and 1: Student's of the differences and one more at each bound, as `meanInterval` has it. */
function boundedInterval(differences: readonly number[]): Interval | null {
  const wide = studentInterval([-1, ...differences, 1]);
  return wide && within(wide, meanOf(differences), { low: -1, high: 1 });
}

/** Approximate where they are of very uneven sizes. @param differences in order */
function studentInterval(differences: readonly number[]): Interval | null {
  if (differences[0] === differences.at(-1)) return null;
  const n = differences.length;
  const mean = meanOf(differences);
  const squares = differences.reduce((sum, difference) => sum + (difference - mean) ** 2, 0);
  const half = studentT95(n - 1) * Math.sqrt(squares / (n - 1) / n);
  return { low: mean - half, high: mean + half };
}

function meanOf(differences: readonly number[]): number {
  return differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
}
