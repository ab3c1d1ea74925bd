import type {
  ComparedVersion,
  ComparePromptVersionsResponse,
  PairedDifference,
} from '../../gen/portcullis/v1/leaderboard_pb.ts';
import type { CliContext } from '../context.ts';
import { present } from '../gate-command.ts';
import { printFields, printNote } from '../output.ts';
import { usd } from './cells.ts';

const points = (share: number) => `${(share * 100).toFixed(1)} points`;

/** Prints what the second of two versions does better or worse than the first, task by task. */
export function printComparison(context: CliContext, answer: ComparePromptVersionsResponse): void {
  const { success, cost, tasks, windowDays } = answer;
  const [first, second] = [present(answer.first), present(answer.second)];
  printFields(context, [
    ['first', sideText(first)],
    ['second', sideText(second)],
    ['common tasks', String(tasks)],
    ['success', differenceText(success, points, ['better', 'worse'])],
    ['cost per run', differenceText(cost, usd, ['dearer', 'cheaper'])],
  ]);
  printNote(
    context,
    `Differences are the second's less the first's, over tasks that both tried in the last ${windowDays} days; in brackets their 95 % interval.`,
  );
}

function sideText({ promptVersion, runs, runsWithoutTask, truncated }: ComparedVersion): string {
  const { label } = present(promptVersion);
  const notes = [
    `${runs} runs`,
    ...(runsWithoutTask > 0n ? [`${runsWithoutTask} without a task`] : []),
    ...(truncated ? ['the newest of more'] : []),
  ];
  return `${label} (${notes.join(', ')})`;
}

function differenceText(
  difference: PairedDifference | undefined,
  shown: (value: number) => string,
  [more, less]: readonly [string, string],
): string {
  if (!difference) return 'not enough data';
  const { mean, interval, p } = difference;
  const signed = (value: number) => `${value > 0 ? '+' : ''}${shown(value)}`;
  const range = interval ? ` (${signed(interval.low)} to ${signed(interval.high)})` : '';
  const tasks = `${difference.more} tasks ${more}, ${difference.less} ${less}, ${difference.same} the same`;
  return `${signed(mean)}${range}; ${tasks}; sign test p = ${p < 0.001 ? '<0.001' : p.toFixed(3)}`;
}
