import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { formatUsd } from '../base/money.ts';
import { AttemptOutcomeSchema } from '../gen/portcullis/v1/analytics_pb.ts';
import { ListProjectDaysResponseSchema, ReconciliationService } from '../gen/portcullis/v1/reconciliation_pb.ts';
import { ListPromptAttemptsResponseSchema, RunService } from '../gen/portcullis/v1/run_pb.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, parseCount } from './gate-command.ts';
import { type Column, localTime, noteMore, printAnswer, printNote, printTable, stateFormat } from './output.ts';
import { readPages } from './paging.ts';
import { type DaySpan, parseDay } from './reconcile/days.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';

const right = (title: string): Column => ({ title, align: 'right' });

interface ProvisionalOptions extends GateOptions {
  readonly since?: number;
  readonly agent?: string;
  readonly run?: string;
  readonly limit: number;
}

/** `portcullis usage provisional`: what agents say of calls that did not pass the gate. */
export function provisionalCommand(context: CliContext): Command {
  return gateCommand('provisional', 'list what agents reported of calls that did not pass the gate; nothing counts it')
    .option('--since <time>', 'told since then, like 7d or 1h', parseDuration)
    .option('--agent <agent>', 'of one agent, by name or id')
    .option('--run <id>', 'within one run')
    .option('--limit <count>', 'how many rows at most', parseCount, 100)
    .action(({ since, agent, run, limit, ...options }: ProvisionalOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const filter = {
          ...(since !== undefined && { startTime: timestampFromMs(Date.now() - since) }),
          ...(agent !== undefined && { agentId: await agentIdOf(gate, agent, project) }),
          ...(run !== undefined && { runId: run }),
        };
        const answer = await readPages(
          limit,
          (page) => gate.of(RunService).listPromptAttempts({ ...page, ...filter, ...project }),
          ({ attempts }) => attempts,
        );
        if (options.json) return printAnswer(context, ListPromptAttemptsResponseSchema, answer);
        const names = await agentNames(gate, project);
        printTable(
          context,
          [
            ...['TIME', 'AGENT', 'MODEL', 'PROVIDER'].map((title) => ({ title })),
            { title: 'OUTCOME', format: stateFormat },
            ...['COST', 'INPUT', 'OUTPUT', 'CACHED'].map(right),
            ...['RUN', 'CALL'].map((title) => ({ title })),
            right('ATTEMPT'),
          ],
          answer.attempts.map((attempt) => [
            localTime(attempt.startTime),
            names.get(attempt.agentId) ?? attempt.agentId,
            attempt.model,
            attempt.provider,
            enumWord(AttemptOutcomeSchema, attempt.outcome),
            formatUsd(attempt.costNanousd),
            String(attempt.inputTokens),
            String(attempt.outputTokens),
            String(attempt.cacheReadTokens + attempt.cacheWriteTokens),
            attempt.runId ?? '',
            attempt.callId,
            String(attempt.attemptNumber),
          ]),
          'No agent reported anything.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

/** `portcullis usage unexplained`: what was billed beyond the ledger, and is the project's. */
export function unexplainedCommand(context: CliContext): Command {
  return gateCommand('unexplained', "list what providers billed beyond the ledger, and is the project's")
    .option('--since <day>', 'the first day (UTC), like 2026-11-01 or 7d', parseDay)
    .option('--until <day>', 'the last day', parseDay)
    .option('--provider <name>', 'at one provider')
    .action(({ since, until, provider, ...options }: GateOptions & DaySpan & { readonly provider?: string }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const filter = {
          ...(since !== undefined && { firstDay: since }),
          ...(until !== undefined && { lastDay: until }),
          ...(provider !== undefined && { provider }),
        };
        const answer = await readPages(
          100_000,
          (page) => gate.of(ReconciliationService).listProjectDays({ ...page, ...filter, ...project }),
          ({ days }) => days,
        );
        const days = answer.days.filter(({ unexplainedNanousd }) => unexplainedNanousd > 0n);
        if (options.json) return printAnswer(context, ListProjectDaysResponseSchema, { ...answer, days });
        printTable(
          context,
          [...['DAY', 'PROVIDER', 'MODEL'].map((title) => ({ title })), right('UNEXPLAINED')],
          days.map(({ day, provider: at, model, unexplainedNanousd }) => [
            day,
            at,
            model,
            formatUsd(unexplainedNanousd),
          ]),
          'No bill that is known goes beyond the ledger.',
        );
        if (days.length === 0) return;
        const sum = days.reduce((total, { unexplainedNanousd }) => total + unexplainedNanousd, 0n);
        printNote(context, `${formatUsd(sum)} in all, which is in no total of attempts.`);
      }),
    );
}
