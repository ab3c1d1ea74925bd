import {
  type GetLeaderboardResponse,
  type LeaderboardEntry,
  type ScoreParts,
} from '../../gen/portcullis/v1/leaderboard_pb.ts';
import { scoreParts } from '../../telemetry/leaderboard/model.ts';
import type { CliContext } from '../context.ts';
import { type Column, printNote, printTable } from '../output.ts';
import { bar, durationCell, meanCell, nothing, percentCell, usdCell } from './cells.ts';

const cancelledColumn = {
  title: 'CANCELLED',
  align: 'right' as const,
  cell: ({ cancelled }: LeaderboardEntry) => String(cancelled),
};

/** Prints a board: the best first, with 95 % intervals; at a terminal with a bar of the success rate's. */
export function printBoard(
  context: CliContext,
  workflow: string,
  answer: GetLeaderboardResponse,
  byModel: boolean,
): void {
  const { entries, windowDays, minRuns, weights } = answer;
  const hasBars = context.stdout.isTTY === true;
  const columns: readonly (Column & { readonly cell: (entry: LeaderboardEntry) => string })[] = [
    { title: '#', align: 'right', cell: ({ rank }) => rank?.toString() ?? nothing },
    { title: 'VERSION', cell: versionName },
    ...(byModel ? [{ title: 'MODEL', cell: modelName }] : []),
    { title: 'SCORE', cell: ({ score }) => score?.toFixed(3) ?? 'not enough data' },
    { title: 'RUNS', align: 'right', cell: ({ succeeded, failed }) => String(succeeded + failed) },
    ...(entries.some(({ cancelled }) => cancelled > 0n) ? [cancelledColumn] : []),
    ...(hasBars ? [{ title: '0 % … 100 %', whole: true as const, cell: successBar }] : []),
    { title: 'SUCCESS', cell: ({ success }) => percentCell(success) },
    { title: 'COST/SUCCESS', cell: ({ costPerSuccess }) => usdCell(costPerSuccess) },
    { title: 'P50', cell: ({ durationP50 }) => durationCell(durationP50) },
    { title: 'P95', cell: ({ durationP95 }) => durationCell(durationP95) },
    { title: 'RATING', cell: ({ rating }) => meanCell(rating, 1) },
    { title: 'EVALUATION', cell: ({ evaluation }) => meanCell(evaluation, 2) },
  ];
  printTable(
    context,
    columns,
    entries.map((entry) => columns.map(({ cell }) => cell(entry))),
    `No run of "${workflow}" ended in the last ${windowDays} days.`,
  );
  if (entries.length === 0) return;
  printNote(
    context,
    `Runs that ended in the last ${windowDays} days; ranked are versions with ${minRuns} or more that succeeded or failed. Score: ${weightsText(weights)}. In brackets: 95 % intervals.`,
  );
  if (answer.truncated) printNote(context, 'There are more versions: raise --limit.');
}

function versionName({ label, promptVersion }: LeaderboardEntry): string {
  if (label !== '') return label;
  return promptVersion === '' ? '(none)' : promptVersion.slice(0, 12);
}

function modelName({ model }: LeaderboardEntry): string {
  return model === '' ? '(none)' : model === '*' ? '(several)' : model;
}

function successBar({ success }: LeaderboardEntry): string {
  return success ? bar(success.value, success.interval) : '';
}

/** What counts, by its share: `success 40 %, cost 20 %`. */
function weightsText(weights: ScoreParts | undefined): string {
  const given = scoreParts.map((part) => [part, weights?.[part] ?? 0] as const).filter(([, weight]) => weight > 0);
  const all = given.reduce((sum, [, weight]) => sum + weight, 0);
  return given.map(([part, weight]) => `${part} ${Math.round((100 * weight) / all)} %`).join(', ');
}
