import { Command, InvalidArgumentError, Option } from 'commander';
import {
  CreateWebhookEndpointResponseSchema,
  DeleteWebhookEndpointResponseSchema,
  GetWebhookEndpointResponseSchema,
  ListWebhookEndpointsResponseSchema,
  RotateWebhookSecretResponseSchema,
  UpdateWebhookEndpointResponseSchema,
  VerifyWebhookEndpointResponseSchema,
  WebhookService,
} from '../../gen/portcullis/v1/webhook_pb.ts';
import { type CliContext, CliError } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { withGate } from '../gate-client.ts';
import {
  collectValues,
  gateCommand,
  type GateOptions,
  listCommand,
  type ListOptions,
  present,
} from '../gate-command.ts';
import { noteMore, printAnswer, printLine, printTable } from '../output.ts';
import { readPages } from '../paging.ts';
import { projectOf } from '../references.ts';
import { announceSecret, endpointColumns, endpointRow, endpointSecretOf, printEndpoint } from './endpoint-view.ts';

/** `portcullis webhooks endpoints`: where events are sent. */
export function endpointsCommand(context: CliContext): Command {
  return new Command('endpoints')
    .description('add, list, show, change, verify and remove the URLs that events are sent to')
    .addCommand(addCommand(context))
    .addCommand(listEndpointsCommand(context))
    .addCommand(showCommand(context))
    .addCommand(updateCommand(context))
    .addCommand(verifyCommand(context))
    .addCommand(rotateCommand(context))
    .addCommand(removeCommand(context));
}

interface ContentOptions extends GateOptions {
  readonly description?: string;
  readonly event?: readonly string[];
  readonly rate?: number;
  readonly ordered?: boolean;
}

function addCommand(context: CliContext): Command {
  return gateCommand('add', 'have events sent to a URL; prints the secret of their signatures once')
    .argument('<url>', 'https, on the public internet')
    .option('--description <text>', 'what it is for')
    .option('--event <type>', 'a type of event that it gets; repeatable (default: all)', collectValues)
    .option('--rate <count>', 'deliveries a second at most', parseRate)
    .option('--ordered', 'events of one thing in their order: one that fails holds up those behind it')
    .action((url: string, options: ContentOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookService).createWebhookEndpoint({
          url,
          description: options.description ?? '',
          eventTypes: [...(options.event ?? [])],
          ratePerSecond: options.rate ?? 0,
          ordered: options.ordered ?? false,
          ...(await projectOf(gate, options)),
        });
        const secret = endpointSecretOf(answer);
        if (options.json) return printAnswer(context, CreateWebhookEndpointResponseSchema, answer);
        announceSecret(context, present(answer.endpoint), secret);
      }),
    );
}

function listEndpointsCommand(context: CliContext): Command {
  return listCommand('list endpoints, newest first').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(WebhookService).listWebhookEndpoints({ ...page, ...project }),
        ({ endpoints }) => endpoints,
      );
      if (options.json) return printAnswer(context, ListWebhookEndpointsResponseSchema, answer);
      printTable(context, endpointColumns, answer.endpoints.map(endpointRow), 'There are no webhook endpoints.');
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'show an endpoint')
    .argument('<id>')
    .action((endpointId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(WebhookService).getWebhookEndpoint({ endpointId, ...project });
        if (options.json) return printAnswer(context, GetWebhookEndpointResponseSchema, answer);
        printEndpoint(context, present(answer.endpoint));
      }),
    );
}

interface UpdateOptions extends ContentOptions {
  readonly url?: string;
  readonly allEvents?: true;
  readonly enable?: true;
  readonly disable?: true;
  readonly etag?: string;
}

function updateCommand(context: CliContext): Command {
  return gateCommand('update', 'change an endpoint; another URL is verified anew')
    .argument('<id>')
    .option('--url <url>', 'where events are sent from now on')
    .option('--description <text>', 'what it is for')
    .option('--event <type>', 'a type of event that it gets instead of those of before; repeatable', collectValues)
    .addOption(new Option('--all-events', 'it gets events of all types').conflicts('event'))
    .option('--rate <count>', 'deliveries a second at most; 0 for no limit', parseRate)
    .option('--ordered', 'events of one thing in their order')
    .option('--no-ordered', 'events in any order')
    .option('--disable', 'send nothing from now on; what still waited becomes dead letters')
    .addOption(new Option('--enable', 'send events again').conflicts('disable'))
    .option('--etag <etag>', 'only if it is still the endpoint that was shown with this etag')
    .action((endpointId: string, options: UpdateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookService).updateWebhookEndpoint({
          endpointId,
          etag: options.etag ?? '',
          ...changeOf(options),
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, UpdateWebhookEndpointResponseSchema, answer);
        printEndpoint(context, present(answer.endpoint));
      }),
    );
}

function changeOf({ url, description, event, allEvents, rate, ordered, enable, disable }: UpdateOptions) {
  const given = {
    ...(url !== undefined && { url }),
    ...(description !== undefined && { description }),
    ...(event !== undefined && { eventTypes: [...event] }),
    ...(rate !== undefined && { ratePerSecond: rate }),
    ...(ordered !== undefined && { ordered }),
    ...((enable || disable) && { disabled: disable === true }),
  };
  const names = [...Object.keys(given), ...(allEvents ? ['eventTypes'] : [])];
  if (names.length === 0)
    throw new CliError('Say what to change: portcullis webhooks endpoints update --help.', exitCodes.usage);
  return {
    ...given,
    updateMask: { paths: names.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)) },
  };
}

function verifyCommand(context: CliContext): Command {
  return gateCommand('verify', 'send the challenge again')
    .argument('<id>')
    .action((endpointId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(WebhookService).verifyWebhookEndpoint({ endpointId, ...project });
        if (options.json) return printAnswer(context, VerifyWebhookEndpointResponseSchema, answer);
        printLine(context, `The challenge is on its way: portcullis webhooks endpoints show ${endpointId}`);
      }),
    );
}

function rotateCommand(context: CliContext): Command {
  return gateCommand('rotate', 'give an endpoint another secret; the old one signs too for 24 hours')
    .argument('<id>')
    .option('--end-old', 'end the old secret at once: others know it')
    .action((endpointId: string, options: GateOptions & { readonly endOld?: true }) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookService).rotateWebhookSecret({
          endpointId,
          endOldNow: options.endOld ?? false,
          ...(await projectOf(gate, options)),
        });
        const secret = endpointSecretOf(answer);
        if (options.json) return printAnswer(context, RotateWebhookSecretResponseSchema, answer);
        announceSecret(context, present(answer.endpoint), secret);
      }),
    );
}

function removeCommand(context: CliContext): Command {
  return gateCommand('remove', 'send nothing to an endpoint any more, for good')
    .argument('<id>')
    .option('--etag <etag>', 'only if it is still the endpoint that was shown with this etag')
    .action((endpointId: string, options: GateOptions & { readonly etag?: string }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const order = { endpointId, etag: options.etag ?? '', ...project };
        const answer = await gate.of(WebhookService).deleteWebhookEndpoint(order);
        if (options.json) return printAnswer(context, DeleteWebhookEndpointResponseSchema, answer);
        printLine(context, `Endpoint ${endpointId} (${present(answer.endpoint).url}) is removed.`);
      }),
    );
}

function parseRate(text: string): number {
  const rate = /^\d{1,4}$/.test(text) ? Number(text) : -1;
  if (rate < 0 || rate > 1000) throw new InvalidArgumentError('Write a number from 0 to 1000.');
  return rate;
}
