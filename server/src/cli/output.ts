import { styleText } from 'node:util';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import type { CliContext } from './context.ts';
import { columnsOf, cut, visible, visibleJson } from './terminal-text.ts';

type Format = Parameters<typeof styleText>[0];
type Stream = CliContext['stdout'] | CliContext['stderr'];

export interface Column {
  readonly title: string;
  readonly align?: 'right';
  /** Never cut. */
  readonly whole?: true;
  /** How a cell's text is shown where colour is. */
  readonly format?: (cell: string) => Format | undefined;
}

const cellColumnsMax = 64;

/** Styles for a person at a terminal; plain text for a pipe and under NO_COLOR (no-color.org). */
export function styled(context: CliContext, stream: Stream, format: Format, text: string): string {
  const colour = stream.isTTY === true && !context.environment['NO_COLOR'];
  return colour ? styleText(format, text, { validateStream: false }) : text;
}

/** One line for people. Whatever stands in it from elsewhere is made harmless. */
export function printLine(context: CliContext, text: string): void {
  context.stdout.write(`${visible(text)}\n`);
}

/** One line beside the answer, on standard error: it never gets into a pipe. */
export function printNote(context: CliContext, text: string): void {
  context.stderr.write(`${visible(text)}\n`);
}

/** A table for people: columns aligned, cells made harmless and cut where they are long. */
export function printTable(
  context: CliContext,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  empty: string,
): void {
  if (rows.length === 0) return printNote(context, empty);
  const cells = rows.map((row) =>
    row.map((cell, at) => (columns[at]?.whole ? visible(cell) : cut(visible(cell), cellColumnsMax))),
  );
  const widths = columns.map(({ title }, at) =>
    Math.max(columnsOf(title), ...cells.map((row) => columnsOf(row[at] ?? ''))),
  );
  const line = (row: readonly string[], formatOf: (column: Column, cell: string) => Format | undefined) => {
    const parts = columns.map((column, at) => {
      const cell = row[at] ?? '';
      const format = formatOf(column, cell);
      const shown = format === undefined ? cell : styled(context, context.stdout, format, cell);
      const gap = ' '.repeat((widths[at] ?? 0) - columnsOf(cell));
      return column.align === 'right' ? gap + shown : shown + gap;
    });
    context.stdout.write(`${parts.join('  ').trimEnd()}\n`);
  };
  line(
    columns.map(({ title }) => title),
    () => 'bold',
  );
  for (const row of cells) line(row, ({ format }, cell) => format?.(cell));
}

/** One thing for people: a line a member, in full. Members without a value are left out. */
export function printFields(context: CliContext, fields: readonly (readonly [string, string | undefined])[]): void {
  const given = fields.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(...given.map(([label]) => label.length)) + 2;
  for (const [label, value] of given) {
    context.stdout.write(`${styled(context, context.stdout, 'bold', label)}${' '.repeat(width - label.length)}`);
    context.stdout.write(`${visible(value ?? '')}\n`);
  }
}

/** One JSON document for programs. */
export function printJson(context: CliContext, value: unknown): void {
  context.stdout.write(`${visibleJson(value)}\n`);
}

/** The API's answer as one JSON document in Connect's form (int64 as strings), every member present. */
export function printAnswer<D extends DescMessage>(context: CliContext, schema: D, answer: MessageShape<D>): void {
  printJson(context, toJson(schema, answer, { alwaysEmitImplicit: true }));
}

/** Local time for people: `2026-01-31 14:05:09`; an absent time is `absent`. */
export function localTime(time: Timestamp | undefined, absent = ''): string {
  if (time === undefined) return absent;
  const date = timestampDate(time);
  const two = (part: number) => String(part).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[two(date.getHours()), two(date.getMinutes()), two(date.getSeconds())].join(':')}`;
}

const formats: Readonly<Record<string, Format>> = {
  active: 'green',
  running: 'green',
  succeeded: 'green',
  success: 'green',
  expiring: 'yellow',
  warn: 'yellow',
  disabled: 'red',
  revoked: 'red',
  failed: 'red',
  error: 'red',
  killed: 'red',
};

/** The colour of a state's word. */
export function stateFormat(state: string): Format | undefined {
  return formats[state];
}

/** Says that a list goes on. */
export function noteMore(context: CliContext, nextPageToken: string): void {
  if (nextPageToken !== '') printNote(context, 'There are more: raise --limit.');
}
