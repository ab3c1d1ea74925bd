import { Command, InvalidArgumentError } from 'commander';
import { isScope, scopes } from '../identity/scopes.ts';
import { CliError } from './context.ts';

/** What every command that talks to a gate can be told. */
export interface GateOptions {
  readonly json?: true;
  readonly project?: string;
}

/** The options of a command that lists. */
export interface ListOptions extends GateOptions {
  readonly limit: number;
}

/** A command that talks to a gate, with `--json` and `--project`. */
export function gateCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--json', 'print the answer as one JSON document')
    .option('--project <project>', "a project by name or id (default: the key's own)");
}

/** A command that lists, with `--limit` too. */
export function listCommand(description: string): Command {
  return gateCommand('list', description).option('--limit <count>', 'how many at most', parseCount, 100);
}

/** Reads a count of things to list. */
export function parseCount(text: string): number {
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 100_000) throw new InvalidArgumentError('Write a number from 1 to 100000.');
  return count;
}

/** Gathers the values of an option that may be given more than once. */
export function collectValues(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** Gathers scopes of an option that may be given more than once. */
export function collectScopes(scope: string, before: readonly string[] = []): string[] {
  if (!isScope(scope)) throw new InvalidArgumentError(`The scopes are ${scopes.join(', ')}.`);
  return [...before, scope];
}

/** What an answer must hold by its contract. */
export function present<T>(value: T | undefined): T {
  if (value === undefined)
    throw new CliError('The gate answered in a form that this version does not know: update it.');
  return value;
}
