import { Command } from 'commander';
import {
  EndSessionResponseSchema,
  ListSessionsResponseSchema,
  ProjectService,
  SignInMethodSchema,
} from '../gen/portcullis/v1/project_pb.ts';
import type { CliContext } from './context.ts';
import { enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printLine, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis sessions`: who is signed in at a browser. */
export function sessionsCommand(context: CliContext): Command {
  return new Command('sessions')
    .description('list who is signed in at a browser, and end sessions')
    .addCommand(listSessionsCommand(context))
    .addCommand(endCommand(context));
}

function listSessionsCommand(context: CliContext): Command {
  return listCommand('list sessions that last, newest first; without admin:read your own')
    .option('--own', 'your own alone')
    .action((options: ListOptions & { own?: true }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await readPages(
          options.limit,
          (page) => gate.of(ProjectService).listSessions({ ...page, own: options.own === true, ...project }),
          ({ sessions }) => sessions,
        );
        if (options.json) return printAnswer(context, ListSessionsResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'WHO' },
            { title: 'BY' },
            { title: 'SIGNED IN' },
            { title: 'LAST USED' },
            { title: 'ADDRESS' },
            { title: 'BROWSER' },
            { title: 'ID' },
          ],
          answer.sessions.map((session) => [
            session.principalId,
            enumWord(SignInMethodSchema, session.method),
            localTime(session.createTime),
            localTime(session.lastUseTime),
            session.clientAddress,
            session.userAgent,
            session.id,
          ]),
          'Nobody is signed in.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function endCommand(context: CliContext): Command {
  return gateCommand('end', 'end a session, on every replica at once')
    .argument('<session>', 'its id')
    .action((sessionId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(ProjectService).endSession({ sessionId, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, EndSessionResponseSchema, answer);
        const { id, principalId } = present(answer.session);
        printLine(context, `Session ${id} of ${principalId} has ended.`);
      }),
    );
}
