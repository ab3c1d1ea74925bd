import { Command } from 'commander';
import { GetSelfResponseSchema, PrincipalKindSchema, SystemService } from '../gen/portcullis/v1/system_pb.ts';
import type { CliContext } from './context.ts';
import { enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { present } from './gate-command.ts';
import { localTime, printAnswer, printFields } from './output.ts';

/** `portcullis whoami`: who the gate takes the caller for. */
export function whoamiCommand(context: CliContext): Command {
  return new Command('whoami')
    .description('say which gate this talks to, as whom, and with which scopes')
    .option('--json', 'print the answer as one JSON document')
    .action((options: { json?: true }) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(SystemService).getSelf({});
        if (options.json) return printAnswer(context, GetSelfResponseSchema, answer);
        const self = present(answer.principal);
        printFields(context, [
          ['gate', `${gate.url} (${answer.serverVersion})`],
          ['name', self.name],
          ['kind', enumWord(PrincipalKindSchema, self.kind)],
          ['id', self.id],
          ['project', self.projectId],
          ['scopes', self.scopes.length === 0 ? 'none' : self.scopes.join(' ')],
          ['agent', self.agentId],
          ['person', self.personId],
          ['key', self.keyId],
          ['run', self.runId],
          ['expires', localTime(self.expireTime, 'never')],
        ]);
      }),
    );
}
