import { timestampMs } from '@bufbuild/protobuf/wkt';
import { formatUsd } from '../base/money.ts';
import {
  type GetTelemetrySummaryResponse,
  type TelemetryGroup,
  TelemetryGroupSchema,
  type TelemetryTotals,
} from '../gen/portcullis/v1/telemetry_summary_pb.ts';
import type { CliContext } from './context.ts';
import { enumWord } from './enum-words.ts';
import { type Column, localTime, printFields, printNote, printTable } from './output.ts';
import { sparkline } from './sparkline.ts';

/** By what the course of a window is drawn. */
export type Course = 'minute' | 'hour' | 'day';

const partMs: Readonly<Record<Course, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** All of a window, a line a measure; `course` is the same window by `by`, or null where it has too many parts. */
export function printWhole(
  context: CliContext,
  { startTime, endTime, countedUntil, totals, events, runs, incomplete }: GetTelemetrySummaryResponse,
  course: { readonly parts: GetTelemetrySummaryResponse; readonly by: Course } | null,
): void {
  if (totals === undefined) return;
  const courseOf = (amount: (part: TelemetryTotals) => bigint): readonly (readonly [string, string])[] =>
    course ? [[`BY ${course.by.toUpperCase()}`, drawn(course.parts, course.by, amount)]] : [];
  const { attempts, retries, costNanousd, estimatedNanousd, notionalNanousd, latency } = totals;
  printFields(context, [
    ['WINDOW', `${localTime(startTime)} to ${localTime(endTime)}`],
    ['ATTEMPTS', `${attempts}${retries > 0n ? `, ${retries} of them retries` : ''}`],
    ...courseOf((part) => part.attempts),
    ['ENDED', outcomes(totals)],
    ['SUCCESS', rate(totals)],
    ['TIMES', latency && `mean ${ms(latency.meanMs)}, ${percentiles(latency)}`],
    [
      'COST',
      `${formatUsd(costNanousd)}${estimatedNanousd > 0n ? `, ${formatUsd(estimatedNanousd)} of it estimated by the gate` : ''}`,
    ],
    ...courseOf((part) => part.costNanousd),
    ['NOTIONAL', notionalNanousd > 0n ? `${formatUsd(notionalNanousd)}, on callers' own accounts` : ''],
    ['TOKENS', tokens(totals)],
    [
      'RUNS',
      runs &&
        (counts({ running: runs.running, succeeded: runs.succeeded, failed: runs.failed, cancelled: runs.cancelled }) ||
          'none'),
    ],
    ['EVENTS', events && (counts({ info: events.info, warn: events.warn, error: events.error }) || 'none')],
  ]);
  if (runs?.truncated === true) printNote(context, 'There are more runs: only the newest were counted.');
  if (incomplete) {
    printNote(
      context,
      'Some may be missing: this project has had more names than are told apart, and others are left out.',
    );
  }
  printNote(context, `What was recorded until ${localTime(countedUntil)} is counted.`);
}

const right = (title: string): Column => ({ title, align: 'right' });

/** A window by groups, a row each; `names` are what ids are shown as. */
export function printGroups(
  context: CliContext,
  { rows, truncated }: GetTelemetrySummaryResponse,
  by: TelemetryGroup,
  names: ReadonlyMap<string, string>,
): void {
  const title = enumWord(TelemetryGroupSchema, by).replaceAll('_', ' ').toUpperCase();
  const counted = ['ATTEMPTS', 'RETRIES', 'SUCCESS', 'COST', 'MEAN', 'P50', 'P90', 'P95', 'P99'].map(right);
  printTable(
    context,
    [{ title }, ...counted, { title: 'ENDED' }],
    rows.flatMap(({ key, totals }) =>
      totals === undefined
        ? []
        : [
            [
              key === '' ? '(none)' : key === '*' ? '(others)' : (names.get(key) ?? key),
              String(totals.attempts),
              String(totals.retries),
              rate(totals),
              formatUsd(totals.costNanousd),
              ...timeCells(totals),
              outcomes(totals),
            ],
          ],
    ),
    'There were no attempts.',
  );
  if (truncated) printNote(context, 'There are more groups: raise --limit (500 at most), or narrow what is summed.');
}

/** The footnote of a summary that lacks percentiles: an agent's. */
export function noteTimes(context: CliContext, { totals, rows }: GetTelemetrySummaryResponse): void {
  const all = [totals, ...rows.map((row) => row.totals)];
  if (!all.some((of) => of?.latency !== undefined && of.latency.p50Ms === undefined)) return;
  printNote(context, `${notKept} Percentiles of answer times are not kept by agent.`);
}

function drawn(
  { startTime, endTime, rows }: GetTelemetrySummaryResponse,
  by: Course,
  amount: (totals: TelemetryTotals) => bigint,
): string {
  if (startTime === undefined || endTime === undefined) return '';
  const step = partMs[by];
  const first = Math.floor(timestampMs(startTime) / step);
  const amounts = Array.from<number>({ length: Math.ceil(timestampMs(endTime) / step) - first }).fill(0);
  for (const { key, totals } of rows) if (totals) amounts[Date.parse(key) / step - first] = Number(amount(totals));
  return sparkline(amounts);
}

function counts(named: Readonly<Record<string, bigint>>): string {
  return Object.entries(named)
    .filter(([, count]) => count !== 0n)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

function outcomes({ succeeded, failed, timedOut, refused, killed, overBudget, clientClosed }: TelemetryTotals): string {
  const other = { refused, killed, 'over budget': overBudget, 'client gone': clientClosed };
  return counts({ succeeded, failed, 'timed out': timedOut, ...other });
}

function tokens(totals: TelemetryTotals): string {
  const { inputTokens: input, outputTokens: output, cacheReadTokens, cacheWriteTokens } = totals;
  return counts({ input, output, 'read from caches': cacheReadTokens, 'written to caches': cacheWriteTokens });
}

function rate({ successRate }: TelemetryTotals): string {
  return successRate === undefined ? '' : `${(100 * successRate).toFixed(1)} %`;
}

type Latency = NonNullable<TelemetryTotals['latency']>;

const notKept = '–';

function timeCells({ latency }: TelemetryTotals): string[] {
  if (latency === undefined) return ['', '', '', '', ''];
  return [ms(latency.meanMs), ...percentilesOf(latency).map(([, time]) => (time === undefined ? notKept : ms(time)))];
}

function percentiles(latency: Latency): string {
  const kept = percentilesOf(latency).flatMap(([name, time]) => (time === undefined ? [] : [`${name} ${ms(time)}`]));
  return kept.length > 0 ? kept.join(', ') : `percentiles ${notKept}`;
}

function percentilesOf({ p50Ms, p90Ms, p95Ms, p99Ms }: Latency): readonly (readonly [string, number | undefined])[] {
  return [
    ['p50', p50Ms],
    ['p90', p90Ms],
    ['p95', p95Ms],
    ['p99', p99Ms],
  ];
}

/** Three digits: a percentile has no more. */
function ms(time: number): string {
  return time < 1000 ? `${Number(time.toPrecision(3))} ms` : `${Number((time / 1000).toPrecision(3))} s`;
}
