import { once } from 'node:events';
import { resolve } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import { Command, InvalidArgumentError } from 'commander';
import {
  ExportKindSchema,
  type ExportKind,
  type ExportRecord,
  ExportRecordSchema,
  ExportService,
  type ExportSummary,
} from '../gen/portcullis/v1/export_pb.ts';
import { CliError, type CliContext } from './context.ts';
import { enumValue, enumWord, enumWords } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import type { AskedExport } from './export/checkpoint-file.ts';
import { StateFile, type Standing } from './export/state-file.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { printNote } from './output.ts';
import { projectOf } from './references.ts';
import { resumed } from './resumed-stream.ts';
import { visibleJson } from './terminal-text.ts';

interface StateOptions extends Partial<Standing> {
  readonly output: string;
  readonly kind?: readonly ExportKind[];
  readonly project?: string;
}

const recordsPerNote = 10_000;

/** `portcullis export`: what a project holds. */
export function exportCommand(context: CliContext): Command {
  return new Command('export').description('export what a project holds').addCommand(stateCommand(context));
}

function stateCommand(context: CliContext): Command {
  return new Command('state')
    .description('write what a project holds, one JSON document a line')
    .requiredOption('--output <file>', 'the file to write; - is standard output')
    .option(
      '--kind <kind>',
      `only this; may be given more than once: ${enumWords(ExportKindSchema).join(', ')}`,
      collectKinds,
    )
    .option('--resume', 'go on with an export to this file that was interrupted')
    .option('--force', 'replace the file, or begin an interrupted export anew')
    .option('--project <project>', "a project by name or id (default: the key's own)")
    .action((options: StateOptions) =>
      withGate(context, (gate) =>
        options.output === '-' ? toOutput(context, gate, options) : toFile(context, gate, options),
      ),
    );
}

async function toFile(context: CliContext, gate: GateClient, options: StateOptions): Promise<void> {
  const { output, resume = false, force = false } = options;
  const { projectId } = await projectOf(gate, options);
  const asked = { kinds: options.kind?.map((kind) => enumWord(ExportKindSchema, kind)), projectId };
  const file = await StateFile.open(resolve(context.cwd, output), output, asked, { resume, force });
  if (file.records > 0) printNote(context, `Going on behind ${file.records} records.`);
  try {
    const summary = await tell(context, gate, requestOf(file.asked), file.position, async ({ records, position }) => {
      await file.append(
        records.map((record) => `${JSON.stringify(jsonOf(record))}\n`).join(''),
        records.length,
        position,
      );
      return file.records;
    });
    if (file.records !== totalOf(summary)) {
      throw new CliError(
        `${output}.partial has ${file.records} records, and the gate told ${totalOf(summary)}: begin anew with --force.`,
      );
    }
    await file.finish();
  } catch (error) {
    await file.leave();
    throw error;
  }
}

async function toOutput(context: CliContext, gate: GateClient, options: StateOptions): Promise<void> {
  if (options.resume) throw new CliError('Only an export to a file can be gone on with.', exitCodes.usage);
  const { stdout } = context;
  const request = { kinds: [...(options.kind ?? [])], ...(await projectOf(gate, options)) };
  const lineOf = (record: ExportRecord) =>
    stdout.isTTY === true ? visibleJson(jsonOf(record), 0) : JSON.stringify(jsonOf(record));
  let total = 0;
  await tell(context, gate, request, '', async ({ records }) => {
    const lines = records.map((record) => `${lineOf(record)}\n`).join('');
    if (!stdout.write(lines)) await once(stdout, 'drain');
    return (total += records.length);
  });
}

/** Hands each message but the last to `take`, which gives how many records there are with it. @returns what the last one says */
async function tell(
  context: CliContext,
  gate: GateClient,
  request: { readonly kinds: ExportKind[]; readonly projectId?: string },
  from: string,
  take: (message: { readonly records: readonly ExportRecord[]; readonly position: string }) => Promise<number>,
): Promise<ExportSummary> {
  const leaving = new AbortController();
  const options = { timeoutMs: 0, signal: leaving.signal };
  const stream = resumed({
    from,
    open: (position) => gate.of(ExportService).exportState({ ...request, position }, options),
    isLast: ({ summary }) => summary !== undefined,
    onBreak: (why) => printNote(context, `The stream broke (${why}): going on where it was.`),
  });
  let told = 0;
  try {
    for await (const message of stream) {
      if (message.summary) {
        printNote(context, `${totalOf(message.summary)} records: ${countsIn(message.summary)}.`);
        return message.summary;
      }
      const before = told;
      told = await take(message);
      if (Math.floor(told / recordsPerNote) > Math.floor(before / recordsPerNote)) {
        printNote(context, `${told} records so far.`);
      }
    }
  } finally {
    // Else a stream that is not read to its end keeps the process.
    leaving.abort();
  }
  throw new CliError('The gate answered in a form that this version does not know: update it.');
}

function requestOf({ kinds, projectId }: AskedExport) {
  return {
    kinds: kinds.map((kind) => enumValue(ExportKindSchema, kind)),
    ...(projectId !== null && { projectId }),
  };
}

function jsonOf(record: ExportRecord): unknown {
  return toJson(ExportRecordSchema, record, { alwaysEmitImplicit: true });
}

function totalOf({ counts }: ExportSummary): number {
  return counts.reduce((total, { records }) => total + Number(records), 0);
}

function countsIn({ counts }: ExportSummary): string {
  return counts.map(({ kind, records }) => `${enumWord(ExportKindSchema, kind)} ${records}`).join(', ');
}

function collectKinds(word: string, before: readonly ExportKind[] = []): ExportKind[] {
  const words = enumWords(ExportKindSchema);
  if (!words.includes(word)) throw new InvalidArgumentError(`Choose ${words.join(', ')}.`);
  return [...before, enumValue(ExportKindSchema, word)];
}
