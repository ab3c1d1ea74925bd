import { Command } from 'commander';
import {
  AppendChangelogResponseSchema,
  type ChangelogCategory,
  ChangelogCategorySchema,
  JournalService,
  ListChangelogResponseSchema,
} from '../gen/portcullis/v1/journal_pb.ts';
import type { CliContext } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { beginningOf, longTextOf, longTextOptions, printLongText } from './long-text.ts';
import { localTime, noteMore, printAnswer, printFields, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis changelog`: what was changed, and by whom. */
export function changelogCommand(context: CliContext): Command {
  return new Command('changelog')
    .description('append to the changelog, and list it')
    .addCommand(appendCommand(context))
    .addCommand(listChangelogCommand(context));
}

interface AppendOptions extends GateOptions {
  readonly category?: ChangelogCategory;
  readonly details?: string;
  readonly detailsFile?: string;
}

function appendCommand(context: CliContext): Command {
  return longTextOptions(gateCommand('append', 'append an entry, by you'), 'details')
    .argument('<summary>')
    .addOption(enumOption('--category <category>', 'what was changed (default: ops)', ChangelogCategorySchema))
    .action((summary: string, options: AppendOptions) =>
      withGate(context, async (gate) => {
        const details = (await longTextOf(context, 'details', options.details, options.detailsFile)) ?? '';
        const { category } = options;
        const entry = { summary, details, ...(category !== undefined && { category }) };
        const answer = await gate.of(JournalService).appendChangelog({ ...entry, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, AppendChangelogResponseSchema, answer);
        const made = present(answer.entry);
        printFields(context, [
          ['id', made.id],
          ['summary', made.summary],
          ['project', made.projectId],
          ['category', enumWord(ChangelogCategorySchema, made.category)],
          ['by', `${made.actorKind} ${made.actorId}`],
          ['appended', localTime(made.createTime)],
        ]);
        printLongText(context, made.details);
      }),
    );
}

function listChangelogCommand(context: CliContext): Command {
  return listCommand('list the changelog, newest first; --json has entries whole')
    .addOption(enumOption('--category <category>', 'entries of this category', ChangelogCategorySchema))
    .action((options: ListOptions & { readonly category?: ChangelogCategory }) =>
      withGate(context, async (gate) => {
        const { category } = options;
        const filter = { ...(category !== undefined && { category }), ...(await projectOf(gate, options)) };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(JournalService).listChangelog({ ...page, ...filter }),
          ({ entries }) => entries,
        );
        if (options.json) return printAnswer(context, ListChangelogResponseSchema, answer);
        printTable(
          context,
          [{ title: 'TIME' }, { title: 'CATEGORY' }, { title: 'SUMMARY' }, { title: 'DETAILS' }, { title: 'BY' }],
          answer.entries.map((entry) => [
            localTime(entry.createTime),
            enumWord(ChangelogCategorySchema, entry.category),
            entry.summary,
            beginningOf(entry.details),
            entry.actorId,
          ]),
          'The changelog is empty.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}
