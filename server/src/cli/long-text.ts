import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import { type CliContext, CliError } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { printLine } from './output.ts';

/** Adds `--<name>` and `--<name>-file`, of which one is given at most. */
export function longTextOptions(command: Command, name: string): Command {
  return command
    .option(`--${name} <text>`, `its ${name}`)
    .option(`--${name}-file <file>`, `a file with its ${name}; - is standard input`);
}

/**
 * The text that was given in either way; undefined where none was. A file is taken as it stands, its last line end too.
 * @throws CliError
 */
export async function longTextOf(
  { cwd, stdin }: CliContext,
  name: string,
  text: string | undefined,
  file: string | undefined,
): Promise<string | undefined> {
  if (file === undefined) return text;
  if (text !== undefined) throw new CliError(`--${name} and --${name}-file exclude each other.`, exitCodes.usage);
  try {
    const bytes = file === '-' ? await buffer(stdin) : await readFile(resolve(cwd, file));
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const why = error instanceof TypeError ? 'it is not UTF-8' : error instanceof Error ? error.message : String(error);
    throw new CliError(`${file} cannot be read: ${why}.`);
  }
}

/** As much of a text as a cell of a table can show, and a little more: the rest need not be looked at. */
export function beginningOf(text: string): string {
  return text.slice(0, 500);
}

/** Text of many lines for people, each of them made harmless; nothing for none. */
export function printLongText(context: CliContext, text: string): void {
  if (text === '') return;
  printLine(context, '');
  for (const line of text.replace(/\r?\n$/, '').split(/\r?\n/)) printLine(context, line);
}
