import { once } from 'node:events';
import { toJson } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import { RunEventLevelSchema } from '../gen/portcullis/v1/run_event_pb.ts';
import {
  RunService,
  RunStateSchema,
  type WatchRunResponse,
  WatchRunResponseSchema,
} from '../gen/portcullis/v1/run_pb.ts';
import type { CliContext } from './context.ts';
import { enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions } from './gate-command.ts';
import { localTime, printNote, stateFormat, styled } from './output.ts';
import { projectOf } from './references.ts';
import { resumed } from './resumed-stream.ts';
import { visible, visibleJson } from './terminal-text.ts';

/** `portcullis runs watch`: a run's events as they are told, until its end. */
export function watchCommand(context: CliContext): Command {
  return gateCommand(
    'watch',
    'show what is told of a run as it is told, until its end; --json prints a document a line',
  )
    .argument('<run>')
    .action((runId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const which = { runId, ...(await projectOf(gate, options)) };
        const messages = resumed({
          open: (position) => gate.of(RunService).watchRun({ ...which, position }, { timeoutMs: 0 }),
          isLast: ({ told }: WatchRunResponse) => told.case === 'ended',
          onBreak: (why) => printNote(context, `The stream broke (${why}): going on where it was.`),
        });
        for await (const message of messages) {
          const line = options.json ? jsonLine(message) : textLine(context, message);
          if (line !== null && !context.stdout.write(`${line}\n`)) await once(context.stdout, 'drain');
        }
      }),
    );
}

/** Null for a message that only says that the stream lives. */
function jsonLine(message: WatchRunResponse): string | null {
  if (message.told.case === undefined) return null;
  return visibleJson(toJson(WatchRunResponseSchema, message, { alwaysEmitImplicit: true }), 0);
}

function textLine(context: CliContext, { told }: WatchRunResponse): string | null {
  const word = (state: string) => {
    const format = stateFormat(state);
    return format === undefined ? state : styled(context, context.stdout, format, state);
  };
  if (told.case === undefined) return null;
  if (told.case === 'event') {
    const { occurTime, level, type, message, data } = told.value;
    const parts = [visible(type), visible(message), visible(data ?? '')].filter((part) => part !== '');
    return `${localTime(occurTime)}  ${word(enumWord(RunEventLevelSchema, level))}  ${parts.join('  ')}`;
  }
  const { id, workflow, state, summary, error, startTime, finishTime } = told.value;
  const begins = told.case === 'run';
  const said = begins ? [workflow, id] : [summary, error].filter((text) => text !== '');
  const time = localTime(begins ? startTime : finishTime);
  return `${time}  ${word(enumWord(RunStateSchema, state))}  ${said.map(visible).join('  ')}`.trimEnd();
}
