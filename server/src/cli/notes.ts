import { Command } from 'commander';
import {
  CreateNoteResponseSchema,
  DeleteNoteResponseSchema,
  JournalService,
  ListNotesResponseSchema,
} from '../gen/portcullis/v1/journal_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import {
  collectValues,
  gateCommand,
  type GateOptions,
  listCommand,
  type ListOptions,
  present,
} from './gate-command.ts';
import { beginningOf, longTextOf, longTextOptions, printLongText } from './long-text.ts';
import { localTime, noteMore, printAnswer, printFields, printLine, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis notes`: what is to be known. */
export function notesCommand(context: CliContext): Command {
  return new Command('notes')
    .description('add, list and delete notes')
    .addCommand(addCommand(context))
    .addCommand(listNotesCommand(context))
    .addCommand(deleteCommand(context));
}

interface AddOptions extends GateOptions {
  readonly body?: string;
  readonly bodyFile?: string;
  readonly tag?: readonly string[];
}

function addCommand(context: CliContext): Command {
  return longTextOptions(gateCommand('add', 'make a note'), 'body')
    .argument('<title>')
    .option('--tag <tag>', 'a tag; may be given more than once', collectValues)
    .action((title: string, options: AddOptions) =>
      withGate(context, async (gate) => {
        const body = (await longTextOf(context, 'body', options.body, options.bodyFile)) ?? '';
        const answer = await gate
          .of(JournalService)
          .createNote({ title, body, tags: [...(options.tag ?? [])], ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, CreateNoteResponseSchema, answer);
        const note = present(answer.note);
        printFields(context, [
          ['id', note.id],
          ['title', note.title],
          ['project', note.projectId],
          ['tags', note.tags.join(', ')],
          ['created', localTime(note.createTime)],
          ['created by', note.createdBy],
        ]);
        printLongText(context, note.body);
      }),
    );
}

function listNotesCommand(context: CliContext): Command {
  return listCommand('list notes, newest first; --json has them whole').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(JournalService).listNotes({ ...page, ...project }),
        ({ notes }) => notes,
      );
      if (options.json) return printAnswer(context, ListNotesResponseSchema, answer);
      printTable(
        context,
        [
          { title: 'TITLE' },
          { title: 'ID', whole: true },
          { title: 'BODY' },
          { title: 'TAGS' },
          { title: 'CREATED' },
          { title: 'BY' },
        ],
        answer.notes.map((note) => [
          note.title,
          note.id,
          beginningOf(note.body),
          note.tags.join(', '),
          localTime(note.createTime),
          note.createdBy,
        ]),
        'There are no notes.',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function deleteCommand(context: CliContext): Command {
  return gateCommand('delete', 'delete a note; the audit log keeps its title')
    .argument('<id>')
    .action((noteId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(JournalService).deleteNote({ noteId, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, DeleteNoteResponseSchema, answer);
        const { title, id } = present(answer.note);
        printLine(context, `Note "${title}" (${id}) is deleted.`);
      }),
    );
}
