import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import {
  CreateWebhookCallbackResponseSchema,
  GetWebhookEventResponseSchema,
  ListWebhookEventsResponseSchema,
  ListWebhookRefusalsResponseSchema,
  ReplayWebhookEventResponseSchema,
  type WebhookEvent,
  WebhookEventService,
  WebhookEventState,
  WebhookEventStateSchema,
  WebhookSignatureStatusSchema,
} from '../gen/portcullis/v1/webhook_event_pb.ts';
import { CliError, type CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { printLongText } from './long-text.ts';
import {
  type Column,
  localTime,
  noteMore,
  printAnswer,
  printFields,
  printLine,
  printNote,
  printTable,
  stateFormat,
} from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis webhook-events`: webhooks that came in, and what became of them. */
export function webhookEventsCommand(context: CliContext): Command {
  return new Command('webhook-events')
    .description('list, read and replay webhooks that came in')
    .addCommand(listEventsCommand(context))
    .addCommand(getCommand(context))
    .addCommand(replayCommand(context))
    .addCommand(refusedCommand(context))
    .addCommand(callbackCommand(context));
}

interface EventListOptions extends ListOptions {
  readonly source?: string;
  readonly state?: WebhookEventState;
  readonly run?: string;
}

function listEventsCommand(context: CliContext): Command {
  return listCommand('list webhooks that came in, newest first')
    .option('--source <source>', 'of this source')
    .addOption(enumOption('--state <state>', 'in this state', WebhookEventStateSchema))
    .option('--run <run>', 'of which this run was told')
    .action(({ source, state, run, limit, ...options }: EventListOptions) =>
      withGate(context, async (gate) => {
        const filter = {
          ...(source !== undefined && { source }),
          ...(state !== undefined && { state }),
          ...(run !== undefined && { runId: run }),
          ...(await projectOf(gate, options)),
        };
        const answer = await readPages(
          limit,
          (page) => gate.of(WebhookEventService).listWebhookEvents({ ...page, ...filter }),
          ({ events }) => events,
        );
        if (options.json) return printAnswer(context, ListWebhookEventsResponseSchema, answer);
        printTable(context, eventColumns, answer.events.map(eventCells), 'No webhook is like that.');
        noteMore(context, answer.nextPageToken);
      }),
    );
}

const eventColumns: readonly Column[] = [
  { title: 'TIME' },
  { title: 'EVENT', whole: true },
  { title: 'SOURCE' },
  { title: 'TYPE' },
  { title: 'STATE', format: stateFormat },
  { title: 'TRIES', align: 'right' },
  { title: 'RUN' },
  { title: 'NOTE' },
];

function eventCells({ receiveTime, id, source, type, state, attempts, runId = '', note }: WebhookEvent): string[] {
  return [
    localTime(receiveTime),
    id,
    source,
    type,
    enumWord(WebhookEventStateSchema, state),
    String(attempts),
    runId,
    note,
  ];
}

function getCommand(context: CliContext): Command {
  return gateCommand('get', 'show a webhook with its headers and its body')
    .argument('<event>')
    .action((eventId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const asked = { eventId, ...(await projectOf(gate, options)) };
        const answer = await gate.of(WebhookEventService).getWebhookEvent(asked);
        if (options.json) return printAnswer(context, GetWebhookEventResponseSchema, answer);
        const event = present(answer.event);
        printFields(context, [
          ['id', event.id],
          ['source', event.source],
          ['type', event.type],
          ["sender's id", event.providerEventId],
          ['state', enumWord(WebhookEventStateSchema, event.state)],
          ['note', event.note],
          ['run', event.runId ?? ''],
          ['received', localTime(event.receiveTime)],
          ['finished', localTime(event.finishTime)],
          ['tries', String(event.attempts)],
          ['replays', String(event.replays)],
          ...Object.entries(answer.headers).toSorted(([one], [other]) => (one < other ? -1 : 1)),
        ]);
        if (answer.body === undefined) return printNote(context, 'Its body was sealed under another SECRETS_KEY.');
        printLongText(context, Buffer.from(answer.body).toString());
        if (answer.truncated)
          printNote(context, `It has ${event.bodyBytes} bytes: the rest is too large for an answer.`);
      }),
    );
}

interface ReplayOptions extends GateOptions {
  readonly dead?: true;
  readonly source?: string;
}

function replayCommand(context: CliContext): Command {
  return gateCommand('replay', 'process a webhook again, or all that are dead')
    .argument('[event]')
    .option('--dead', 'all dead ones')
    .option('--source <source>', 'with --dead: of this source')
    .action((eventId: string | undefined, { dead, source, ...options }: ReplayOptions) =>
      withGate(context, async (gate) => {
        if ((eventId === undefined) !== (dead === true)) throw new CliError('Name one event, or say --dead.');
        const project = await projectOf(gate, options);
        if (eventId === undefined)
          return replayDead(context, gate, { ...project, ...(source !== undefined && { source }) });
        const answer = await gate.of(WebhookEventService).replayWebhookEvent({ eventId, ...project });
        if (options.json) return printAnswer(context, ReplayWebhookEventResponseSchema, answer);
        printLine(context, `${eventId} is processed again.`);
      }),
    );
}

/** Those that are dead when it begins: one that dies again meanwhile is not replayed twice. */
async function replayDead(
  context: CliContext,
  gate: GateClient,
  { source, ...project }: { readonly source?: string; readonly projectId?: string },
): Promise<void> {
  const { events } = await readPages(
    100_000,
    (page) =>
      gate.of(WebhookEventService).listWebhookEvents({
        ...page,
        ...project,
        state: WebhookEventState.DEAD,
        ...(source !== undefined && { source }),
      }),
    (answer) => answer.events,
  );
  for (const { id } of events) await gate.of(WebhookEventService).replayWebhookEvent({ eventId: id, ...project });
  printLine(context, events.length === 1 ? 'One is processed again.' : `${events.length} are processed again.`);
}

function refusedCommand(context: CliContext): Command {
  return gateCommand('refused', 'count what was refused lately, by source, reason and hour').action(
    (options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookEventService).listWebhookRefusals({});
        if (options.json) return printAnswer(context, ListWebhookRefusalsResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'HOUR' },
            { title: 'SOURCE' },
            { title: 'SIGNATURE' },
            { title: 'REASON' },
            { title: 'COUNT', align: 'right' },
            { title: 'LAST' },
            { title: 'FROM' },
          ],
          answer.refusals.map((refusal) => [
            localTime(refusal.hour),
            refusal.source || '(none)',
            enumWord(WebhookSignatureStatusSchema, refusal.signatureStatus),
            refusal.reason,
            String(refusal.count),
            localTime(refusal.lastTime),
            refusal.lastAddress,
          ]),
          'Nothing was refused.',
        );
      }),
  );
}

interface CallbackOptions extends GateOptions {
  readonly run?: string;
  readonly job?: string;
  readonly lifetime?: number;
}

function callbackCommand(context: CliContext): Command {
  return gateCommand('callback', 'make a URL for one job of a sender that cannot sign')
    .argument('<source>')
    .option('--run <run>', 'the run that is told of the job')
    .option('--job <id>', "the sender's id of the job, where it is known already")
    .option('--lifetime <duration>', 'for how long it holds, like 1h or 7d (default: 1d)', parseDuration)
    .action((source: string, { run, job, lifetime, ...options }: CallbackOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(WebhookEventService).createWebhookCallback({
          source,
          ...(run !== undefined && { runId: run }),
          ...(job !== undefined && { jobId: job }),
          ...(lifetime !== undefined && { lifetime: { seconds: BigInt(Math.floor(lifetime / 1000)), nanos: 0 } }),
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, CreateWebhookCallbackResponseSchema, answer);
        printLine(context, answer.url);
        printNote(context, `It is a secret, and holds until ${untilOf(present(answer.callback).expireTime)}.`);
      }),
    );
}

function untilOf(time: Timestamp | undefined): string {
  return time === undefined ? 'its end' : timestampDate(time).toISOString();
}
