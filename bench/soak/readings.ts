import { readdirSync } from 'node:fs';
import { residentMib } from '../harness/process-tree.ts';
import { median } from '../harness/statistics.ts';
import type { RunningTarget } from '../targets/target.ts';

/** What must not grow, at one moment. */
export interface Reading {
  readonly residentMib: number;
  readonly descriptors: number;
}

export function read({ pid, databasePid }: RunningTarget): Reading {
  return {
    residentMib: residentMib(pid) - (databasePid === null ? 0 : residentMib(databasePid)),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** The median of a figure in a part of the time; the ends of the parts are fractions of it. */
export function during(
  readings: readonly Reading[],
  figure: keyof Reading,
  [from, to]: readonly [number, number],
): number {
  const part = readings.slice(Math.floor(readings.length * from), Math.ceil(readings.length * to));
  return median(part.map((reading) => reading[figure]));
}
