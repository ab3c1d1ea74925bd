import type { Command } from 'commander';
import { ListWebhookEventTypesResponseSchema, WebhookService } from '../../gen/portcullis/v1/webhook_pb.ts';
import { type CliContext, CliError } from '../context.ts';
import { withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions } from '../gate-command.ts';
import { printAnswer, printFields, printJson, printTable } from '../output.ts';

/** `portcullis webhooks events`: the catalogue. */
export function eventsCommand(context: CliContext): Command {
  return gateCommand('events', 'list the types of events, or show one with its schema and an example')
    .argument('[type]', 'such as run.finished')
    .action((named: string | undefined, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookService).listWebhookEventTypes({});
        const eventTypes = answer.eventTypes.filter(({ type }) => named === undefined || type === named);
        if (eventTypes.length === 0) {
          throw new CliError(`There is no type of event "${named ?? ''}": \`portcullis webhooks events\`.`);
        }
        if (options.json) return printAnswer(context, ListWebhookEventTypesResponseSchema, { ...answer, eventTypes });
        const [only] = eventTypes;
        if (named === undefined || only === undefined) {
          const rows = eventTypes.map(({ type, version, description }) => [type, String(version), description]);
          const columns = [
            { title: 'TYPE', whole: true },
            { title: 'VERSION', align: 'right' },
            { title: 'MEANING', whole: true },
          ] as const;
          return printTable(context, columns, rows, '');
        }
        printFields(context, [
          ['type', only.type],
          ['version', String(only.version)],
          ['meaning', only.description],
          ['example', only.example],
          ['schema', ''],
        ]);
        printJson(context, JSON.parse(only.schema));
      }),
    );
}
