import { type Command, InvalidArgumentError } from 'commander';
import { boardDaysDefault, boardDaysMax } from '../base/telemetry-limits.ts';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  ComparePromptVersionsResponseSchema,
  GetLeaderboardResponseSchema,
  type LeaderboardPreset,
  LeaderboardPresetSchema,
  ListRankedWorkflowsResponseSchema,
} from '../gen/portcullis/v1/leaderboard_pb.ts';
import type { Weights } from '../telemetry/leaderboard/model.ts';
import { CliError, type CliContext } from './context.ts';
import { enumOption } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, parseCount } from './gate-command.ts';
import { printBoard } from './leaderboard/board.ts';
import { printComparison } from './leaderboard/comparison.ts';
import { publishingCommands } from './leaderboard/publishing.ts';
import { parseWeights } from './leaderboard/weights.ts';
import { noteMore, printAnswer, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

interface BoardOptions extends GateOptions {
  readonly days: number;
  readonly byModel?: true;
  readonly model?: string;
  readonly preset?: LeaderboardPreset;
  readonly weights?: Partial<Weights>;
  readonly minRuns?: number;
  readonly limit: number;
  readonly compare?: readonly string[];
}

/** `portcullis leaderboard`: which version of a prompt is better. */
export function leaderboardCommand(context: CliContext): Command {
  const command = gateCommand('leaderboard', 'which version of a prompt is better')
    // What follows the name of a command is that command's.
    .enablePositionalOptions()
    .argument('[workflow]', 'whose versions are ranked (default: list the workflows)')
    .option('--days <days>', 'of runs that ended in so many days', parseDays, boardDaysDefault)
    .option('--by-model', 'apart by the model that runs asked for')
    .option('--model <model>', 'of runs that asked for this model alone')
    .addOption(enumOption('--preset <preset>', 'what the score is made of', LeaderboardPresetSchema))
    .option('--weights <weights>', 'what it is made of, as in success=3,cost=1', parseWeights)
    .option('--min-runs <count>', 'how many runs are enough to be ranked', parseCount)
    .option('--limit <count>', 'how many versions, or workflows, at most', parseCount, 50)
    .option('--compare <versions...>', 'compare two versions, by label or SHA-256, over the tasks that both tried')
    .action((workflow: string | undefined, options: BoardOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        if (workflow === undefined) return listWorkflows(context, gate, options, project);
        if (options.compare !== undefined) return compare(context, gate, workflow, options, project);
        await showBoard(context, gate, workflow, options, project);
      }),
    );
  for (const sub of publishingCommands(context)) command.addCommand(sub);
  return command;
}

type Project = Awaited<ReturnType<typeof projectOf>>;

async function showBoard(
  context: CliContext,
  gate: GateClient,
  workflow: string,
  options: BoardOptions,
  project: Project,
): Promise<void> {
  const { days: windowDays, byModel = false, model, preset, weights, minRuns, limit, json } = options;
  const answer = await gate.of(AnalyticsService).getLeaderboard({
    workflow,
    windowDays,
    byModel,
    limit,
    ...(model !== undefined && { model }),
    ...(preset !== undefined && { preset }),
    ...(weights !== undefined && { weights }),
    ...(minRuns !== undefined && { minRuns }),
    ...project,
  });
  if (json) return printAnswer(context, GetLeaderboardResponseSchema, answer);
  printBoard(context, workflow, answer, byModel);
}

async function compare(
  context: CliContext,
  gate: GateClient,
  workflow: string,
  { days: windowDays, model, compare: versions = [], json }: BoardOptions,
  project: Project,
): Promise<void> {
  const [first, second, ...more] = versions;
  if (first === undefined || second === undefined || more.length > 0)
    throw new CliError('Name two versions: portcullis leaderboard WORKFLOW --compare FIRST SECOND', exitCodes.usage);
  const which = { workflow, first, second, windowDays, ...(model !== undefined && { model }), ...project };
  const answer = await gate.of(AnalyticsService).comparePromptVersions(which);
  if (json) return printAnswer(context, ComparePromptVersionsResponseSchema, answer);
  printComparison(context, answer);
}

async function listWorkflows(
  context: CliContext,
  gate: GateClient,
  { limit, json }: BoardOptions,
  project: Project,
): Promise<void> {
  const answer = await readPages(
    limit,
    (page) => gate.of(AnalyticsService).listRankedWorkflows({ ...page, ...project }),
    ({ workflows }) => workflows,
  );
  if (json) return printAnswer(context, ListRankedWorkflowsResponseSchema, answer);
  printTable(
    context,
    [{ title: 'WORKFLOW' }],
    answer.workflows.map(({ workflow }) => [workflow]),
    'No run has ended yet.',
  );
  noteMore(context, answer.nextPageToken);
}

function parseDays(text: string): number {
  const days = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (days < 1 || days > boardDaysMax) throw new InvalidArgumentError(`Write a number from 1 to ${boardDaysMax}.`);
  return days;
}
