import type { Command } from 'commander';
import { AnalyticsService } from '../../gen/portcullis/v1/analytics_pb.ts';
import {
  ListPublishedWorkflowsResponseSchema,
  PublishWorkflowResponseSchema,
  UnpublishWorkflowResponseSchema,
} from '../../gen/portcullis/v1/leaderboard_pb.ts';
import type { CliContext } from '../context.ts';
import { withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, type ListOptions, parseCount, present } from '../gate-command.ts';
import { localTime, noteMore, printAnswer, printLine, printTable } from '../output.ts';
import { readPages } from '../paging.ts';
import { projectOf } from '../references.ts';

/** `portcullis leaderboard publish`, `unpublish` and `published`: what strangers see. */
export function publishingCommands(context: CliContext): readonly Command[] {
  return [publishCommand(context), unpublishCommand(context), publishedCommand(context)];
}

function publishCommand(context: CliContext): Command {
  return gateCommand('publish', 'put a workflow on the public leaderboard, for everybody to see')
    .argument('<workflow>')
    .argument('<title>', 'by what name strangers see it')
    .addHelpText(
      'after',
      '\nStrangers see aggregates of runs that ended up to yesterday (UTC), in steps of five runs or more. They see labels of' +
        '\nversions that an operator or service with policy:write registered, or confirmed by registering the same again;' +
        '\nof others the first digits of the SHA-256.',
    )
    .action((workflow: string, title: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(AnalyticsService).publishWorkflow({ workflow, title, ...project });
        if (options.json) return printAnswer(context, PublishWorkflowResponseSchema, answer);
        const { title: kept } = present(answer.publishedWorkflow);
        printLine(context, `"${kept}" is public: ${new URL('/leaderboard', gate.url).href} has it within seconds.`);
      }),
    );
}

function unpublishCommand(context: CliContext): Command {
  return gateCommand('unpublish', 'take a workflow off the public leaderboard')
    .argument('<workflow>')
    .action((workflow: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(AnalyticsService).unpublishWorkflow({ workflow, ...project });
        if (options.json) return printAnswer(context, UnpublishWorkflowResponseSchema, answer);
        printLine(context, `"${present(answer.publishedWorkflow).title}" is public no more.`);
      }),
    );
}

function publishedCommand(context: CliContext): Command {
  return gateCommand('published', 'list the workflows that are on the public leaderboard')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action((options: ListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await readPages(
          options.limit,
          (page) => gate.of(AnalyticsService).listPublishedWorkflows({ ...page, ...project }),
          ({ publishedWorkflows }) => publishedWorkflows,
        );
        if (options.json) return printAnswer(context, ListPublishedWorkflowsResponseSchema, answer);
        printTable(
          context,
          [{ title: 'WORKFLOW' }, { title: 'TITLE' }, { title: 'SINCE' }, { title: 'BY' }],
          answer.publishedWorkflows.map(({ workflow, title, publishTime, publishedBy }) => [
            workflow,
            title,
            localTime(publishTime),
            publishedBy,
          ]),
          'Nothing is public: portcullis leaderboard publish WORKFLOW TITLE',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}
