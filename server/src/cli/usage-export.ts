import { createWriteStream, renameSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { Command, Option } from 'commander';
import { pageSizeMax } from '../base/limits.ts';
import { AnalyticsService, type Attempt } from '../gen/portcullis/v1/analytics_pb.ts';
import { ProjectService } from '../gen/portcullis/v1/project_pb.ts';
import { type ProjectDay, ReconciliationService } from '../gen/portcullis/v1/reconciliation_pb.ts';
import { SystemService } from '../gen/portcullis/v1/system_pb.ts';
import { dayAfter } from '../reconciliation/calendar-day.ts';
import { CliError, type CliContext } from './context.ts';
import { attemptColumns } from './export/attempt-columns.ts';
import { type CsvCell, csvLine, text, visibleCell } from './export/csv-cell.ts';
import { focusHeader, type FocusProject, focusRow, unexplainedRow } from './export/focus.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { present } from './gate-command.ts';
import { printNote } from './output.ts';
import { findListed } from './paging.ts';
import { type DaySpan, parseDay } from './reconcile/days.ts';
import { projectOf } from './references.ts';

interface ExportOptions extends DaySpan {
  readonly format: 'csv' | 'focus';
  readonly out?: string;
  readonly project?: string;
}

const rowsPerNote = 10_000;

/** `portcullis usage export`: the ledger as CSV, page by page. */
export function exportCommand(context: CliContext): Command {
  return new Command('export')
    .description('write the ledger as CSV: rows of attempts, or charges in the columns of FOCUS')
    .addOption(new Option('--format <format>', 'which columns').choices(['csv', 'focus']).default('csv'))
    .option('--since <day>', 'the first day (UTC), like 2026-11-01 or 7d', parseDay)
    .option('--until <day>', 'the last day', parseDay)
    .option('--out <file>', 'the file to write (default: standard output)')
    .option('--project <project>', "a project by name or id (default: the key's own)")
    .action((options: ExportOptions) =>
      withGate(context, async (gate) => {
        const target = targetOf(context, options.out);
        try {
          const rows = await writeRows(context, gate, options, target);
          await target.end();
          printNote(context, `${rows} rows written.`);
        } catch (error) {
          target.abandon();
          throw error;
        }
      }),
    );
}

async function writeRows(
  context: CliContext,
  gate: GateClient,
  options: ExportOptions,
  target: Target,
): Promise<number> {
  const named = await projectOf(gate, options);
  const project = options.format === 'focus' ? await focusProject(gate, named) : null;
  const toRow = (attempt: Attempt): readonly CsvCell[] | null =>
    project === null ? attemptColumns.map(([, cell]) => cell(attempt)) : focusRow(attempt, project);
  const toTerminal = options.out === undefined && context.stdout.isTTY === true;
  const lines = (rows: readonly (readonly CsvCell[])[]) =>
    rows.map((row) => csvLine(toTerminal ? row.map(visibleCell) : row)).join('');
  await target.write(csvLine(project === null ? attemptColumns.map(([name]) => text(name)) : focusHeader));
  let rows = 0;
  for await (const page of attemptPages(gate, options, named)) {
    const cells = page.map(toRow).filter((row) => row !== null);
    await target.write(lines(cells));
    const before = rows;
    rows += cells.length;
    if (Math.floor(rows / rowsPerNote) > Math.floor(before / rowsPerNote)) printNote(context, `${rows} rows so far.`);
  }
  const unexplained = await unexplainedDays(gate, options, named);
  if (project === null) {
    if (unexplained.length > 0)
      printNote(context, 'Some spend was billed beyond these rows: `portcullis usage unexplained` lists it.');
    return rows;
  }
  await target.write(lines(unexplained.map((day) => unexplainedRow(day, project))));
  return rows + unexplained.length;
}

/** The ledger's rows, newest first, a page at a time: what was written is forgotten. */
async function* attemptPages(
  gate: GateClient,
  { since, until }: DaySpan,
  project: { projectId?: string },
): AsyncGenerator<readonly Attempt[]> {
  const filter = {
    ...(since !== undefined && { startTime: timestampFromMs(Date.parse(since)) }),
    ...(until !== undefined && { endTime: timestampFromMs(Date.parse(dayAfter(until))) }),
  };
  for (let pageToken = ''; ;) {
    const page = { pageSize: pageSizeMax, pageToken, filter, ...project };
    const { attempts, nextPageToken } = await gate.of(AnalyticsService).listAttempts(page);
    yield attempts;
    if (nextPageToken === '') return;
    pageToken = nextPageToken;
  }
}

/** What was billed beyond the ledger, and is the project's. */
async function unexplainedDays(
  gate: GateClient,
  { since, until }: DaySpan,
  project: { projectId?: string },
): Promise<ProjectDay[]> {
  const filter = { ...(since !== undefined && { firstDay: since }), ...(until !== undefined && { lastDay: until }) };
  const found: ProjectDay[] = [];
  for (let pageToken = ''; ;) {
    const page = { pageSize: pageSizeMax, pageToken, ...filter, ...project };
    const { days, nextPageToken } = await gate.of(ReconciliationService).listProjectDays(page);
    found.push(...days.filter(({ unexplainedNanousd }) => unexplainedNanousd > 0n));
    if (nextPageToken === '') return found;
    pageToken = nextPageToken;
  }
}

/** The project with its name, where the key may see it. */
async function focusProject(gate: GateClient, { projectId }: { projectId?: string }): Promise<FocusProject> {
  const id = projectId ?? present((await gate.of(SystemService).getSelf({})).principal).projectId;
  try {
    const found = await findListed(
      (page) => gate.of(ProjectService).listProjects(page),
      ({ projects }) => projects,
      (project) => project.id === id,
    );
    return { id, name: found?.name };
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.PermissionDenied) return { id, name: undefined };
    throw error;
  }
}

/** Where rows go. */
interface Target {
  /** Resolves when there is room for more. */
  write(chunk: string): Promise<void>;
  end(): Promise<void>;
  /** Leaves no half file behind. */
  abandon(): void;
}

/** A file appears under its name when it is whole. */
function targetOf({ stdout, cwd }: CliContext, out: string | undefined): Target {
  if (out === undefined) return { write: (chunk) => writeTo(stdout, chunk), end: async () => {}, abandon: () => {} };
  const path = resolve(cwd, out);
  const partial = `${path}.partial`;
  const file = createWriteStream(partial);
  const failed = new Promise<never>((_, reject) => {
    file.once('error', (error) => reject(new CliError(`${out} cannot be written (${error.message}).`)));
  });
  // It is looked at by the next write.
  failed.catch(() => undefined);
  return {
    write: (chunk) => Promise.race([failed, writeTo(file, chunk)]),
    end: async () => {
      file.end();
      await Promise.race([failed, finished(file)]);
      renameSync(partial, path);
    },
    abandon: () => {
      file.destroy();
      rmSync(partial, { force: true });
    },
  };
}

async function writeTo(stream: NodeJS.WritableStream, chunk: string): Promise<void> {
  if (chunk !== '' && !stream.write(chunk)) await once(stream, 'drain');
}
