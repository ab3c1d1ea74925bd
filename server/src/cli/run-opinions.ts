import { type Command, InvalidArgumentError } from 'commander';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  ListRunEvaluationsResponseSchema,
  ListRunRatingsResponseSchema,
  RatePromptResponseSchema,
  RecordEvaluationResponseSchema,
} from '../gen/portcullis/v1/leaderboard_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, type ListOptions, parseCount, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printLine, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis runs rate`, `evaluate`, `ratings` and `evaluations`: what others than its agent think of a run. */
export function opinionCommands(context: CliContext): readonly Command[] {
  return [rateCommand(context), evaluateCommand(context), ratingsCommand(context), evaluationsCommand(context)];
}

function rateCommand(context: CliContext): Command {
  return gateCommand('rate', 'rate what came of a run, in place of your rating of before')
    .argument('<run>')
    .argument('<rating>', '1 (worst) to 5 (best)', parseRating)
    .option('--comment <text>', 'why', '')
    .action((runId: string, rating: number, options: GateOptions & { readonly comment: string }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate
          .of(AnalyticsService)
          .ratePrompt({ runId, rating, comment: options.comment, ...project });
        if (options.json) return printAnswer(context, RatePromptResponseSchema, answer);
        printLine(context, `The run ${runId} has ${present(answer.rating).rating} of 5 from you.`);
      }),
    );
}

function evaluateCommand(context: CliContext): Command {
  return gateCommand('evaluate', 'record what an evaluator found of a run, in place of what it found before')
    .argument('<run>')
    .argument('<evaluator>', 'its name')
    .argument('<score>', '0 (worst) to 1 (best)', parseScore)
    .option('--notes <text>', 'what it found', '')
    .action((runId: string, evaluator: string, score: number, options: GateOptions & { readonly notes: string }) =>
      withGate(context, async (gate) => {
        const asked = { runId, evaluator, score, notes: options.notes, ...(await projectOf(gate, options)) };
        const answer = await gate.of(AnalyticsService).recordEvaluation(asked);
        if (options.json) return printAnswer(context, RecordEvaluationResponseSchema, answer);
        const kept = present(answer.evaluation);
        printLine(context, `The run ${runId} has ${kept.score} from ${kept.evaluator}.`);
      }),
    );
}

function ratingsCommand(context: CliContext): Command {
  return gateCommand('ratings', 'list the ratings of a run')
    .argument('<run>')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action((runId: string, options: ListOptions) =>
      withGate(context, async (gate) => {
        const which = { runId, ...(await projectOf(gate, options)) };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(AnalyticsService).listRunRatings({ ...page, ...which }),
          ({ ratings }) => ratings,
        );
        if (options.json) return printAnswer(context, ListRunRatingsResponseSchema, answer);
        printTable(
          context,
          [{ title: 'RATING', align: 'right' }, { title: 'BY' }, { title: 'WHEN' }, { title: 'COMMENT' }],
          answer.ratings.map(({ rating, ratedBy, rateTime, comment }) => [
            String(rating),
            ratedBy,
            localTime(rateTime),
            comment,
          ]),
          'Nobody rated this run.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function evaluationsCommand(context: CliContext): Command {
  return gateCommand('evaluations', 'list what evaluators found of a run')
    .argument('<run>')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action((runId: string, options: ListOptions) =>
      withGate(context, async (gate) => {
        const which = { runId, ...(await projectOf(gate, options)) };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(AnalyticsService).listRunEvaluations({ ...page, ...which }),
          ({ evaluations }) => evaluations,
        );
        if (options.json) return printAnswer(context, ListRunEvaluationsResponseSchema, answer);
        printTable(
          context,
          [{ title: 'SCORE', align: 'right' }, { title: 'EVALUATOR' }, { title: 'WHEN' }, { title: 'NOTES' }],
          answer.evaluations.map(({ score, evaluator, recordTime, notes }) => [
            String(score),
            evaluator,
            localTime(recordTime),
            notes,
          ]),
          'Nobody evaluated this run.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function parseRating(text: string): number {
  if (!/^[1-5]$/.test(text)) throw new InvalidArgumentError('Write a whole number from 1 (worst) to 5 (best).');
  return Number(text);
}

function parseScore(text: string): number {
  const score = /^[01](?:\.\d{1,9})?$/.test(text) ? Number(text) : NaN;
  if (!(score <= 1)) throw new InvalidArgumentError('Write a number from 0 (worst) to 1 (best), such as 0.75.');
  return score;
}
