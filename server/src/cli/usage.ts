import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { pageSizeMax } from '../base/limits.ts';
import { formatUsd } from '../base/money.ts';
import {
  AnalyticsService,
  type Attempt,
  type AttemptOutcome,
  AttemptOutcomeSchema,
  GetUsageResponseSchema,
  ListAttemptsResponseSchema,
  ProvenanceSchema,
  type UsageFilterSchema,
  UsageGroup,
  UsageGroupSchema,
} from '../gen/portcullis/v1/analytics_pb.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, parseCount } from './gate-command.ts';
import { type Column, localTime, noteMore, printAnswer, printNote, printTable, stateFormat } from './output.ts';
import { readPages } from './paging.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';
import { exportCommand } from './usage-export.ts';
import { holdsCommand } from './usage-holds.ts';
import { provisionalCommand, unexplainedCommand } from './usage-reports.ts';
import { retentionCommand } from './usage-retention.ts';

interface FilterOptions extends GateOptions {
  readonly since?: number;
  readonly agent?: string;
  readonly key?: string;
  readonly run?: string;
  readonly workflow?: string;
  readonly provider?: string;
  readonly model?: string;
  readonly outcome?: AttemptOutcome;
  readonly limit: number;
}

/** `portcullis usage`: what was used, from the ledger. */
export function usageCommand(context: CliContext): Command {
  return new Command('usage')
    .description('sum what was used; list attempts, or what is reserved right now')
    .addCommand(totalsCommand(context), { isDefault: true })
    .addCommand(attemptsCommand(context))
    .addCommand(holdsCommand(context))
    .addCommand(retentionCommand(context))
    .addCommand(provisionalCommand(context))
    .addCommand(unexplainedCommand(context))
    .addCommand(exportCommand(context));
}

function withFilter(command: Command): Command {
  return command
    .option('--since <time>', 'how far back, like 7d or 1h', parseDuration)
    .option('--agent <agent>', 'of one agent, by name or id')
    .option('--key <id>', 'with one key')
    .option('--run <id>', 'within one run')
    .option('--workflow <name>', 'within runs of one workflow')
    .option('--provider <name>', 'at one provider')
    .option('--model <name>', 'for one public model name')
    .addOption(enumOption('--outcome <outcome>', 'that ended so', AttemptOutcomeSchema))
    .option('--limit <count>', 'how many rows at most', parseCount, 100);
}

async function filterOf(
  gate: GateClient,
  { since, agent, key, run, workflow, provider, model, outcome }: FilterOptions,
  project: { projectId?: string },
): Promise<MessageInitShape<typeof UsageFilterSchema>> {
  return {
    ...(since === undefined ? {} : { startTime: timestampFromMs(Date.now() - since) }),
    ...(agent === undefined ? {} : { agentId: await agentIdOf(gate, agent, project) }),
    ...(key === undefined ? {} : { keyId: key }),
    ...(run === undefined ? {} : { runId: run }),
    ...(workflow === undefined ? {} : { workflow }),
    ...(provider === undefined ? {} : { provider }),
    ...(model === undefined ? {} : { model }),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

const right = (title: string): Column => ({ title, align: 'right' });

function totalsCommand(context: CliContext): Command {
  return withFilter(gateCommand('totals', 'sum attempts'))
    .addOption(enumOption('--by <group>', 'by what to sum', UsageGroupSchema).default(UsageGroup.AGENT, 'agent'))
    .action((options: FilterOptions & { by: UsageGroup }) => printTotals(context, options));
}

function printTotals(context: CliContext, options: FilterOptions & { by: UsageGroup }): Promise<void> {
  return withGate(context, async (gate) => {
    const project = await projectOf(gate, options);
    const filter = await filterOf(gate, options, project);
    const answer = await gate
      .of(AnalyticsService)
      .getUsage({ groupBy: options.by, filter, limit: Math.min(options.limit, pageSizeMax), ...project });
    if (options.json) return printAnswer(context, GetUsageResponseSchema, answer);
    const names = options.by === UsageGroup.AGENT ? await agentNames(gate, project) : new Map<string, string>();
    const group = enumWord(UsageGroupSchema, options.by).toUpperCase();
    const money = ['COST', 'ESTIMATED', 'NOTIONAL'];
    const counts = ['ATTEMPTS', 'REFUSED', 'INPUT', 'OUTPUT', 'CACHE READ', 'CACHE WRITE'];
    printTable(
      context,
      [{ title: group }, ...[...money, ...counts].map(right)],
      answer.rows.map(({ key, totals }) => [
        key === '' ? '(none)' : (names.get(key) ?? key),
        formatUsd(totals?.costNanousd ?? 0n),
        formatUsd(totals?.estimatedNanousd ?? 0n),
        formatUsd(totals?.notionalNanousd ?? 0n),
        String(totals?.attempts ?? 0n),
        String(totals?.refusedAttempts ?? 0n),
        String(totals?.inputTokens ?? 0n),
        String(totals?.outputTokens ?? 0n),
        String(totals?.cacheReadTokens ?? 0n),
        String(totals?.cacheWriteTokens ?? 0n),
      ]),
      'Nothing was used.',
    );
    if (answer.startTime !== undefined) printNote(context, `Since ${localTime(answer.startTime)}.`);
    if (answer.truncated)
      printNote(context, 'There are more groups: raise --limit (500 at most), or narrow what is summed.');
  });
}

function attemptsCommand(context: CliContext): Command {
  return withFilter(gateCommand('attempts', 'list attempts, newest first')).action((options: FilterOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const filter = await filterOf(gate, options, project);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(AnalyticsService).listAttempts({ ...page, filter, ...project }),
        ({ attempts }) => attempts,
      );
      if (options.json) return printAnswer(context, ListAttemptsResponseSchema, answer);
      const names = await agentNames(gate, project);
      printTable(
        context,
        [
          ...['TIME', 'AGENT', 'MODEL', 'PROVIDER'].map((title) => ({ title })),
          { title: 'OUTCOME', format: stateFormat },
          ...['COST', 'HELD', 'NOTIONAL', 'INPUT', 'OUTPUT', 'CACHED', 'MS'].map(right),
          ...['AMOUNTS', 'WHY', 'REQUEST'].map((title) => ({ title })),
        ],
        answer.attempts.map((attempt) => attemptRow(attempt, names)),
        'There are no attempts.',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function attemptRow(attempt: Attempt, names: ReadonlyMap<string, string>): string[] {
  const { agentId } = attempt;
  const cached = attempt.cacheReadTokens + attempt.cacheWrite5mTokens + attempt.cacheWrite1hTokens;
  return [
    localTime(attempt.startTime),
    agentId === undefined ? '' : (names.get(agentId) ?? agentId),
    attempt.modelAsked ?? '',
    attempt.provider ?? '',
    attempt.corrects === undefined ? enumWord(AttemptOutcomeSchema, attempt.outcome) : 'correction',
    formatUsd(attempt.costNanousd),
    formatUsd(attempt.heldNanousd),
    formatUsd(attempt.notionalNanousd),
    String(attempt.inputTokens),
    String(attempt.outputTokens),
    String(cached),
    String(Math.round(attempt.totalMs)),
    enumWord(ProvenanceSchema, attempt.provenance),
    attempt.rule ?? attempt.errorClass ?? '',
    attempt.requestId,
  ];
}
