import { Command } from 'commander';
import { EndLoginResponseSchema, ListLoginsResponseSchema, ProjectService } from '../gen/portcullis/v1/project_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printLine, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis logins`: which command lines are logged in. */
export function loginsCommand(context: CliContext): Command {
  return new Command('logins')
    .description('list which command lines are logged in, and end logins')
    .addCommand(listLoginsCommand(context))
    .addCommand(endCommand(context));
}

function listLoginsCommand(context: CliContext): Command {
  return listCommand('list logins that last, newest first; without admin:read your own')
    .option('--own', 'your own alone')
    .action((options: ListOptions & { own?: true }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await readPages(
          options.limit,
          (page) => gate.of(ProjectService).listLogins({ ...page, own: options.own === true, ...project }),
          ({ logins }) => logins,
        );
        if (options.json) return printAnswer(context, ListLoginsResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'WHO' },
            { title: 'WHAT' },
            { title: 'LOGGED IN' },
            { title: 'LAST USED' },
            { title: 'ADDRESS' },
            { title: 'ID' },
          ],
          answer.logins.map((login) => [
            login.personId,
            login.clientName,
            localTime(login.createTime),
            localTime(login.lastUseTime),
            login.clientAddress,
            login.id,
          ]),
          'Nobody is logged in.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function endCommand(context: CliContext): Command {
  return gateCommand('end', 'end a login and its keys, on every replica at once')
    .argument('<login>', 'its id')
    .action((loginId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(ProjectService).endLogin({ loginId, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, EndLoginResponseSchema, answer);
        const { id, personId } = present(answer.login);
        printLine(context, `Login ${id} of ${personId} has ended.`);
      }),
    );
}
