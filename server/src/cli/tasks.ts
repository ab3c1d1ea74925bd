import { Command } from 'commander';
import {
  CreateTaskResponseSchema,
  DeleteTaskResponseSchema,
  GetTaskResponseSchema,
  JournalService,
  ListTasksResponseSchema,
  type Task,
  type TaskStatus,
  TaskStatusSchema,
  UpdateTaskResponseSchema,
} from '../gen/portcullis/v1/journal_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import { withGate } from './gate-client.ts';
import {
  collectValues,
  gateCommand,
  type GateOptions,
  listCommand,
  type ListOptions,
  present,
} from './gate-command.ts';
import { longTextOf, longTextOptions, printLongText } from './long-text.ts';
import { localTime, noteMore, printAnswer, printFields, printLine, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis tasks`: what is to be done. */
export function tasksCommand(context: CliContext): Command {
  return new Command('tasks')
    .description('add, list, show, change and delete tasks')
    .addCommand(addCommand(context))
    .addCommand(listTasksCommand(context))
    .addCommand(showCommand(context))
    .addCommand(updateCommand(context))
    .addCommand(deleteCommand(context));
}

interface ContentOptions extends GateOptions {
  readonly details?: string;
  readonly detailsFile?: string;
  readonly status?: TaskStatus;
  readonly tag?: readonly string[];
}

function addCommand(context: CliContext): Command {
  return longTextOptions(gateCommand('add', 'make a task'), 'details')
    .argument('<title>')
    .addOption(enumOption('--status <status>', 'where it stands (default: todo)', TaskStatusSchema))
    .option('--tag <tag>', 'a tag; may be given more than once', collectValues)
    .action((title: string, options: ContentOptions) =>
      withGate(context, async (gate) => {
        const details = await longTextOf(context, 'details', options.details, options.detailsFile);
        const { status, tag = [] } = options;
        const answer = await gate.of(JournalService).createTask({
          title,
          details: details ?? '',
          tags: [...tag],
          ...(status !== undefined && { status }),
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, CreateTaskResponseSchema, answer);
        printTask(context, present(answer.task));
      }),
    );
}

function listTasksCommand(context: CliContext): Command {
  return listCommand('list tasks, newest first')
    .addOption(enumOption('--status <status>', 'those that stand there', TaskStatusSchema))
    .action((options: ListOptions & { readonly status?: TaskStatus }) =>
      withGate(context, async (gate) => {
        const { status } = options;
        const filter = { ...(status !== undefined && { status }), ...(await projectOf(gate, options)) };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(JournalService).listTasks({ ...page, ...filter }),
          ({ tasks }) => tasks,
        );
        if (options.json) return printAnswer(context, ListTasksResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'TITLE' },
            { title: 'ID', whole: true },
            { title: 'STATUS' },
            { title: 'TAGS' },
            { title: 'CHANGED' },
          ],
          answer.tasks.map((task) => [
            task.title,
            task.id,
            enumWord(TaskStatusSchema, task.status),
            task.tags.join(', '),
            localTime(task.updateTime),
          ]),
          'There are no tasks.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'show a task')
    .argument('<id>')
    .action((taskId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(JournalService).getTask({ taskId, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, GetTaskResponseSchema, answer);
        printTask(context, present(answer.task));
      }),
    );
}

interface UpdateOptions extends ContentOptions {
  readonly title?: string;
  readonly clearDetails?: true;
  readonly clearTags?: true;
  readonly etag?: string;
}

function updateCommand(context: CliContext): Command {
  return longTextOptions(gateCommand('update', 'change a task'), 'details')
    .argument('<id>')
    .option('--title <title>', 'the new title')
    .option('--clear-details', 'without details from now on')
    .addOption(enumOption('--status <status>', 'where it stands now', TaskStatusSchema))
    .option('--tag <tag>', 'a tag instead of those of before; may be given more than once', collectValues)
    .option('--clear-tags', 'without tags from now on')
    .option('--etag <etag>', 'only if it is still the task that was shown with this etag')
    .action((taskId: string, options: UpdateOptions) =>
      withGate(context, async (gate) => {
        const change = await changeOf(context, options);
        const answer = await gate
          .of(JournalService)
          .updateTask({ taskId, etag: options.etag ?? '', ...change, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, UpdateTaskResponseSchema, answer);
        printTask(context, present(answer.task));
      }),
    );
}

async function changeOf(context: CliContext, options: UpdateOptions) {
  const { title, status, tag, clearDetails, clearTags } = options;
  const details = await longTextOf(context, 'details', options.details, options.detailsFile);
  if ((clearDetails && details !== undefined) || (clearTags && tag !== undefined)) {
    throw new CliError('What is cleared cannot be given as well.', exitCodes.usage);
  }
  const given = {
    ...(title !== undefined && { title }),
    ...(details !== undefined && { details }),
    ...(status !== undefined && { status }),
    ...(tag !== undefined && { tags: [...tag] }),
  };
  const paths = [...Object.keys(given), ...(clearDetails ? ['details'] : []), ...(clearTags ? ['tags'] : [])];
  if (paths.length === 0) throw new CliError('Say what to change: portcullis tasks update --help.', exitCodes.usage);
  return { ...given, updateMask: { paths } };
}

function deleteCommand(context: CliContext): Command {
  return gateCommand('delete', 'delete a task; the audit log keeps its title')
    .argument('<id>')
    .option('--etag <etag>', 'only if it is still the task that was shown with this etag')
    .action((taskId: string, options: GateOptions & { readonly etag?: string }) =>
      withGate(context, async (gate) => {
        const answer = await gate
          .of(JournalService)
          .deleteTask({ taskId, etag: options.etag ?? '', ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, DeleteTaskResponseSchema, answer);
        const { title, id } = present(answer.task);
        printLine(context, `Task "${title}" (${id}) is deleted.`);
      }),
    );
}

function printTask(context: CliContext, task: Task): void {
  printFields(context, [
    ['id', task.id],
    ['title', task.title],
    ['project', task.projectId],
    ['status', enumWord(TaskStatusSchema, task.status)],
    ['tags', task.tags.join(', ')],
    ['created', localTime(task.createTime)],
    ['created by', task.createdBy],
    ['changed', localTime(task.updateTime)],
    ['etag', task.etag],
  ]);
  printLongText(context, task.details);
}
