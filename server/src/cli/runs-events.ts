import { timestampFromMs, timestampNow } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import {
  ListRunEventsResponseSchema,
  RecordRunEventResponseSchema,
  type RunEvent,
  RunEventLevel,
  RunEventLevelSchema,
} from '../gen/portcullis/v1/run_event_pb.ts';
import { RunService } from '../gen/portcullis/v1/run_pb.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, type ListOptions, parseCount } from './gate-command.ts';
import { beginningOf } from './long-text.ts';
import { type Column, localTime, noteMore, printAnswer, printNote, printTable, stateFormat } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

interface EventListOptions extends ListOptions {
  readonly type?: string;
  readonly level?: RunEventLevel;
  readonly since?: number;
}

/** `portcullis runs events`: what an agent told of its run. */
export function eventsCommand(context: CliContext): Command {
  return gateCommand('events', 'list what an agent told of its run, what occurred last first')
    .argument('<run>')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .option('--type <type>', 'of one type')
    .addOption(enumOption('--level <level>', 'of one level', RunEventLevelSchema))
    .option('--since <time>', 'occurred since then, like 7d or 1h', parseDuration)
    .action((runId: string, { type, level, since, limit, ...options }: EventListOptions) =>
      withGate(context, async (gate) => {
        const which = {
          runId,
          ...(type !== undefined && { type }),
          ...(level !== undefined && { level }),
          ...(since !== undefined && { startTime: timestampFromMs(Date.now() - since) }),
          ...(await projectOf(gate, options)),
        };
        const answer = await readPages(
          limit,
          (page) => gate.of(RunService).listRunEvents({ ...page, ...which }),
          ({ events }) => events,
        );
        if (options.json) return printAnswer(context, ListRunEventsResponseSchema, answer);
        printTable(context, eventColumns, answer.events.map(eventCells), 'Nothing was told of this run.');
        noteMore(context, answer.nextPageToken);
      }),
    );
}

const eventColumns: readonly Column[] = [
  { title: 'TIME' },
  { title: 'LEVEL', format: stateFormat },
  ...['TYPE', 'MESSAGE', 'DATA'].map((title) => ({ title })),
];

function eventCells({ occurTime, level, type, message, data = '' }: RunEvent): string[] {
  return [localTime(occurTime), enumWord(RunEventLevelSchema, level), type, beginningOf(message), beginningOf(data)];
}

interface EventOptions extends GateOptions {
  readonly level: RunEventLevel;
  readonly message: string;
  readonly data?: string;
}

/** `portcullis runs event`: tells one. */
export function eventCommand(context: CliContext): Command {
  return gateCommand('event', 'tell an event of a run')
    .argument('<run>')
    .argument('<type>', 'what kind of event, like tool.call')
    .addOption(
      enumOption('--level <level>', 'how much it matters', RunEventLevelSchema).default(RunEventLevel.INFO, 'info'),
    )
    .option('--message <text>', 'for people', '')
    .option('--data <json>', 'for programs: a JSON object', parseObject)
    .action((runId: string, type: string, { level, message, data, ...options }: EventOptions) =>
      withGate(context, async (gate) => {
        const event = { type, level, message, ...(data !== undefined && { data }), occurTime: timestampNow() };
        const asked = { runId, event, ...(await projectOf(gate, options)) };
        const answer = await gate.of(RunService).recordRunEvent(asked);
        if (options.json) return printAnswer(context, RecordRunEventResponseSchema, answer);
        printNote(context, `Recorded as ${answer.eventId}.`);
      }),
    );
}

function parseObject(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return text;
  } catch {
    // Said below.
  }
  throw new InvalidArgumentError('Write a JSON object like {"tool":"search"}.');
}
