import { formatUsd } from '../../base/money.ts';
import type { Interval, Measure } from '../../gen/portcullis/v1/leaderboard_pb.ts';

/** Stands where there is nothing to tell. */
export const nothing = '–';

/** A share in percent, with its interval: `82 % (71–89)`. */
export function percentCell(measure: Measure | undefined): string {
  return cell(measure, percents, ' %');
}

// 0 and 100 are said of none and all alone.
function percents(share: number): string {
  const rounded = Math.round(share * 100);
  return String(share > 0 && share < 1 ? Math.min(99, Math.max(1, rounded)) : rounded);
}

/** Nano-USD: `$0.012 (0.009–0.015)`. */
export function usdCell(measure: Measure | undefined): string {
  return measure ? `$${cell(measure, (nanoUsd) => usd(nanoUsd).replace('$', ''), '')}` : nothing;
}

/** Milliseconds: `1.2 s (0.9–1.5)`. */
export function durationCell(measure: Measure | undefined): string {
  if (!measure) return nothing;
  const [name, ms] = unitOf(measure.value);
  return cell(measure, (value) => significant(value / ms), ` ${name}`);
}

/** A mean without a unit: `4.3 (3.9–4.7)`. */
export function meanCell(measure: Measure | undefined, digits: number): string {
  return cell(measure, (mean) => mean.toFixed(digits), '');
}

/** Nano-USD with at most three significant digits; less than nothing has its sign before the unit. */
export function usd(nanoUsd: number): string {
  const rounded = Number(Math.abs(nanoUsd).toPrecision(3));
  return `${nanoUsd < 0 ? '-' : ''}${formatUsd(BigInt(Math.round(rounded)))}`;
}

const barColumns = 20;

/** Where an interval lies between 0 and 1, and what was observed in it: `──────├──●─┤───────`. */
export function bar(value: number, interval: Interval | undefined): string {
  const at = (share: number) => Math.min(barColumns - 1, Math.max(0, Math.floor(share * barColumns)));
  const columns = Array.from({ length: barColumns }, () => '·');
  if (interval) {
    columns.fill('─', at(interval.low), at(interval.high) + 1);
    columns[at(interval.low)] = '├';
    columns[at(interval.high)] = '┤';
  }
  columns[at(value)] = '●';
  return columns.join('');
}

function cell(measure: Measure | undefined, shown: (value: number) => string, unit: string): string {
  if (!measure) return nothing;
  const { value, interval } = measure;
  const range = interval ? ` (${shown(interval.low)}–${shown(interval.high)})` : '';
  return `${shown(value)}${unit}${range}`;
}

function unitOf(ms: number): readonly [string, number] {
  if (ms < 1_000) return ['ms', 1];
  if (ms < 120_000) return ['s', 1_000];
  return ms < 7_200_000 ? ['min', 60_000] : ['h', 3_600_000];
}

function significant(value: number): string {
  return String(Number(value.toPrecision(2)));
}
