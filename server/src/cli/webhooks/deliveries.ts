import { toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import {
  ListWebhookDeliveriesResponseSchema,
  RedeliverWebhookResponseSchema,
  SendTestWebhookResponseSchema,
  type WebhookAttempt,
  WebhookAttemptOutcomeSchema,
  WebhookAttemptSchema,
  WebhookDeadReasonSchema,
  type WebhookDelivery,
  WebhookDeliverySchema,
  type WebhookDeliveryState,
  WebhookDeliveryStateSchema,
  WebhookService,
} from '../../gen/portcullis/v1/webhook_pb.ts';
import { type CliContext, CliError } from '../context.ts';
import { parseDuration } from '../durations.ts';
import { enumOption, enumWord } from '../enum-words.ts';
import { exitCodes } from '../exit-codes.ts';
import { type GateClient, withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from '../gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printJson, printLine, printTable } from '../output.ts';
import { readPages } from '../paging.ts';
import { projectOf } from '../references.ts';

const attemptsShownMax = 50;

/** `portcullis webhooks deliveries`: what was delivered and what was not. */
export function deliveriesCommand(context: CliContext): Command {
  return new Command('deliveries')
    .description('what was delivered, and what was not')
    .addCommand(listDeliveriesCommand(context))
    .addCommand(showCommand(context));
}

interface FilterOptions extends ListOptions {
  readonly endpoint?: string;
  readonly state?: WebhookDeliveryState;
}

function listDeliveriesCommand(context: CliContext): Command {
  return listCommand('list deliveries, newest first')
    .option('--endpoint <id>', 'those to this endpoint')
    .addOption(
      enumOption('--state <state>', 'those that stand there; dead are dead letters', WebhookDeliveryStateSchema),
    )
    .action((options: FilterOptions) =>
      withGate(context, async (gate) => {
        const { endpoint: endpointId, state } = options;
        const filter = {
          ...(endpointId !== undefined && { endpointId }),
          ...(state !== undefined && { state }),
          ...(await projectOf(gate, options)),
        };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(WebhookService).listWebhookDeliveries({ ...page, ...filter }),
          ({ deliveries }) => deliveries,
        );
        if (options.json) return printAnswer(context, ListWebhookDeliveriesResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'ID', whole: true },
            { title: 'EVENT' },
            { title: 'STATE' },
            { title: 'TRIED', align: 'right' },
            { title: 'NEXT' },
            { title: 'MADE' },
          ],
          answer.deliveries.map((delivery) => [
            delivery.id,
            delivery.eventType,
            enumWord(WebhookDeliveryStateSchema, delivery.state),
            String(delivery.attempts),
            localTime(delivery.nextAttemptTime),
            localTime(delivery.createTime),
          ]),
          'There are no deliveries.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'show a delivery with its attempts and its body')
    .argument('<id>')
    .action((deliveryId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const named = { deliveryId, ...(await projectOf(gate, options)) };
        const { delivery, body } = await gate.of(WebhookService).getWebhookDelivery(named);
        const { attempts } = await gate
          .of(WebhookService)
          .listWebhookAttempts({ ...named, pageSize: attemptsShownMax });
        if (options.json) {
          return printJson(context, {
            delivery: toJson(WebhookDeliverySchema, present(delivery), { alwaysEmitImplicit: true }),
            body,
            attempts: attempts.map((attempt) => toJson(WebhookAttemptSchema, attempt, { alwaysEmitImplicit: true })),
          });
        }
        printDelivery(context, present(delivery), body);
        printAttempts(context, attempts);
      }),
    );
}

function printDelivery(context: CliContext, delivery: WebhookDelivery, body: string): void {
  const { deadReason } = delivery;
  printFields(context, [
    ['id', delivery.id],
    ['endpoint', delivery.endpointId],
    ['webhook-id', delivery.eventId],
    ['event', delivery.eventType],
    ['state', enumWord(WebhookDeliveryStateSchema, delivery.state)],
    ['given up', deadReason === 0 ? '' : enumWord(WebhookDeadReasonSchema, deadReason)],
    ['next attempt', localTime(delivery.nextAttemptTime)],
    ['made', localTime(delivery.createTime)],
    ['ended', localTime(delivery.endTime)],
    ['body', body],
  ]);
}

function printAttempts(context: CliContext, attempts: readonly WebhookAttempt[]): void {
  printTable(
    context,
    [
      { title: 'TRY', align: 'right' },
      { title: 'BEGAN' },
      { title: 'MS', align: 'right' },
      { title: 'OUTCOME' },
      { title: 'STATUS', align: 'right' },
      { title: 'ANSWER' },
    ],
    attempts.map((attempt) => [
      String(attempt.number),
      localTime(attempt.startTime),
      String(attempt.durationMs),
      enumWord(WebhookAttemptOutcomeSchema, attempt.outcome),
      attempt.status === 0 ? '' : String(attempt.status),
      attempt.error === '' ? attempt.answer : attempt.error,
    ]),
    'It was not tried yet.',
  );
}

interface RedeliverOptions extends GateOptions {
  readonly endpoint?: string;
  readonly since?: number;
  readonly until?: number;
  readonly delivered?: true;
}

/** `portcullis webhooks redeliver`: one again, or those of a span of time. */
export function redeliverCommand(context: CliContext): Command {
  return gateCommand(
    'redeliver',
    'deliver again, under the same webhook-id: one, or the dead letters of a span of time',
  )
    .argument('[delivery]', 'one delivery')
    .option('--endpoint <id>', 'all of this endpoint that were made since --since')
    .option('--since <time>', 'how long ago the span begins, like 7d or 1h', parseDuration)
    .option('--until <time>', 'how long ago it ends (default: now)', parseDuration)
    .option('--delivered', 'those too that were delivered')
    .action((deliveryId: string | undefined, options: RedeliverOptions) =>
      withGate(context, (gate) =>
        deliveryId === undefined
          ? redeliverSpan(context, gate, options)
          : redeliverOne(context, gate, deliveryId, options),
      ),
    );
}

async function redeliverOne(
  context: CliContext,
  gate: GateClient,
  deliveryId: string,
  options: RedeliverOptions,
): Promise<void> {
  if (options.endpoint !== undefined || options.since !== undefined)
    throw new CliError('Name one delivery, or --endpoint and --since.', exitCodes.usage);
  const answer = await gate.of(WebhookService).redeliverWebhook({ deliveryId, ...(await projectOf(gate, options)) });
  if (options.json) return printAnswer(context, RedeliverWebhookResponseSchema, answer);
  printLine(context, `It is on its way again: portcullis webhooks deliveries show ${deliveryId}`);
}

async function redeliverSpan(context: CliContext, gate: GateClient, options: RedeliverOptions): Promise<void> {
  const { endpoint: endpointId, since, until, delivered } = options;
  if (endpointId === undefined || since === undefined)
    throw new CliError('Name one delivery, or --endpoint and --since.', exitCodes.usage);
  const nowMs = Date.now();
  const span = {
    endpointId,
    sinceTime: timestampFromMs(nowMs - since),
    // Without an end the span would go on to what is delivered while it is looked at.
    untilTime: timestampFromMs(nowMs - (until ?? 0)),
    includeDelivered: delivered ?? false,
    ...(await projectOf(gate, options)),
  };
  let count = 0;
  let last = '';
  do {
    const answer = await gate.of(WebhookService).redeliverWebhooks({
      ...span,
      ...(last !== '' && { afterDeliveryId: last }),
    });
    count += answer.redelivered;
    last = answer.lastDeliveryId;
  } while (last !== '');
  if (options.json) return printJson(context, { redelivered: count });
  printLine(context, count === 1 ? 'One delivery is on its way again.' : `${count} deliveries are on their way again.`);
}

/** `portcullis webhooks test`: an event for one endpoint alone. */
export function testCommand(context: CliContext): Command {
  return gateCommand('test', 'send an event to one endpoint, whatever its filter')
    .argument('<endpoint>', 'its id')
    .option('--event <type>', 'the type whose example is sent (default: webhook.test)')
    .action((endpointId: string, options: GateOptions & { readonly event?: string }) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookService).sendTestWebhook({
          endpointId,
          eventType: options.event ?? '',
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, SendTestWebhookResponseSchema, answer);
        printLine(context, `It is on its way: portcullis webhooks deliveries show ${present(answer.delivery).id}`);
      }),
    );
}
