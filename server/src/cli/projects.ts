import { Command } from 'commander';
import {
  CreateProjectResponseSchema,
  ListProjectsResponseSchema,
  ProjectService,
} from '../gen/portcullis/v1/project_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { parseCount, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printTable } from './output.ts';
import { readPages } from './paging.ts';

/** `portcullis projects`: tenants. Everything belongs to one. */
export function projectsCommand(context: CliContext): Command {
  return new Command('projects')
    .description('make and list projects')
    .addCommand(createCommand(context))
    .addCommand(listCommand(context));
}

function createCommand(context: CliContext): Command {
  return new Command('create')
    .description('make a project')
    .argument('<name>')
    .option('--json', 'print the answer as one JSON document')
    .action((name: string, options: { json?: true }) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(ProjectService).createProject({ name });
        if (options.json) return printAnswer(context, CreateProjectResponseSchema, answer);
        const project = present(answer.project);
        printFields(context, [
          ['id', project.id],
          ['name', project.name],
        ]);
      }),
    );
}

function listCommand(context: CliContext): Command {
  return new Command('list')
    .description('list projects, newest first')
    .option('--json', 'print the answer as one JSON document')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action((options: { json?: true; limit: number }) =>
      withGate(context, async (gate) => {
        const answer = await readPages(
          options.limit,
          (page) => gate.of(ProjectService).listProjects(page),
          ({ projects }) => projects,
        );
        if (options.json) return printAnswer(context, ListProjectsResponseSchema, answer);
        printTable(
          context,
          ['NAME', 'ID', 'CREATED'].map((title) => ({ title })),
          answer.projects.map(({ name, id, createTime }) => [name, id, localTime(createTime)]),
          'There are no projects.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}
