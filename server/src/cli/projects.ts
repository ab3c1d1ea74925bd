import { Command } from 'commander';
import {
  CreateProjectResponseSchema,
  Durability,
  DurabilitySchema,
  ListProjectsResponseSchema,
  type Project,
  ProjectService,
  UpdateProjectResponseSchema,
} from '../gen/portcullis/v1/project_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import { withGate } from './gate-client.ts';
import { parseCount, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printNote, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis projects`: tenants. Everything belongs to one. */
export function projectsCommand(context: CliContext): Command {
  return new Command('projects')
    .description('make, list and change projects')
    .addCommand(createCommand(context))
    .addCommand(listCommand(context))
    .addCommand(updateCommand(context));
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
        printProject(context, present(answer.project));
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
          ['NAME', 'DURABILITY', 'ID', 'CREATED'].map((title) => ({ title })),
          answer.projects.map(({ name, durability, id, createTime }) => [
            name,
            enumWord(DurabilitySchema, durability),
            id,
            localTime(createTime),
          ]),
          'There are no projects.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

interface UpdateOptions {
  readonly json?: true;
  readonly name?: string;
  readonly durability?: Durability;
}

const relaxedSentence =
  'Given up by relaxed: a process that is killed loses the ledger rows of its last moment and of its calls in flight (their worst case counts as spent), and a call near a limit may be refused while other processes hold unused slices of it. Limits hold as before.';

function updateCommand(context: CliContext): Command {
  return new Command('update')
    .description('change the name or the durability of a project')
    .argument('<project>', 'its name or id')
    .option('--name <name>', 'the new name')
    .addOption(enumOption('--durability <durability>', 'how the money of its calls is written down', DurabilitySchema))
    .option('--json', 'print the answer as one JSON document')
    .action((project: string, { json, name, durability }: UpdateOptions) =>
      withGate(context, async (gate) => {
        const paths = [...(name === undefined ? [] : ['name']), ...(durability === undefined ? [] : ['durability'])];
        if (paths.length === 0) throw new CliError('Say what to change: --name or --durability.', exitCodes.usage);
        const answer = await gate.of(ProjectService).updateProject({
          ...(await projectOf(gate, { project })),
          updateMask: { paths },
          ...(name === undefined ? {} : { name }),
          ...(durability === undefined ? {} : { durability }),
        });
        if (json) return printAnswer(context, UpdateProjectResponseSchema, answer);
        const updated = present(answer.project);
        printProject(context, updated);
        if (durability !== undefined && updated.durability === Durability.RELAXED) printNote(context, relaxedSentence);
      }),
    );
}

function printProject(context: CliContext, { id, name, durability }: Project): void {
  printFields(context, [
    ['id', id],
    ['name', name],
    ['durability', enumWord(DurabilitySchema, durability)],
  ]);
}
