import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { diff } from 'node:util';
import type { Findings } from '../config/environment.ts';
import { parseConfigFile } from '../config/file.ts';
import { type CliContext, CliError } from './context.ts';
import { printLine, printNote, styled } from './output.ts';
import { visible } from './terminal-text.ts';

// Stands for secrets that are set where the gate runs and not here; valid wherever the schema wants text or a URL.
const standIn = 'https://unset.invalid/';

const installation = resolve(import.meta.dirname, '../../..');

/** The file of the gate that is meant: with the data of this installation (bin/portcullis says so) it is beside them. */
export function configFileFor({ cwd }: CliContext, environment: CliContext['environment']): string {
  const here = join(cwd, 'portcullis.yaml');
  if (environment['CONFIG_FILE']) return resolve(cwd, environment['CONFIG_FILE']);
  const isOfInstallation = environment['DATA_DIR'] === join(installation, 'data');
  return isOfInstallation && !existsSync(here) ? join(installation, 'portcullis.yaml') : here;
}

/** The text of the configuration file; empty when there is none yet. */
export function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw new CliError(`${path} cannot be read.`);
  }
}

/**
 * Checks that a gate would take this text.
 * @returns the names of references that are not set in `environment`
 * @throws CliError with everything that is wrong
 */
export function checkConfigText(text: string, environment: CliContext['environment']): string[] {
  const references = [...text.matchAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g)].map(([, name]) => name ?? '');
  const unset = [...new Set(references)].filter((name) => !environment[name]);
  const complete = { ...environment, ...Object.fromEntries(unset.map((name) => [name, standIn])) };
  const findings: Findings = { problems: [], notes: [] };
  if (parseConfigFile(text, complete, findings) === null)
    throw new CliError(`The file would not hold, so it was left as it is. ${findings.problems.join(' ')}`);
  return unset;
}

/** Writes the file at once or not at all; a link stays a link, and the mode stays. A new one tells editors its schema. */
export function replaceConfigFile(path: string, content: string): void {
  const exists = statSync(path, { throwIfNoEntry: false }) !== undefined;
  const target = exists ? realpathSync(path) : path;
  const text = exists ? content : schemaLine(path) + content;
  const mode = (statSync(target, { throwIfNoEntry: false })?.mode ?? 0o644) & 0o777;
  const draft = `${target}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(draft, text, { mode, flag: 'wx', flush: true });
    renameSync(draft, target);
  } catch {
    rmSync(draft, { force: true });
    throw new CliError(`${path} cannot be written.`);
  }
}

/** For a file of this installation alone: a way out of somebody's own folder would hold on this machine only. */
function schemaLine(path: string): string {
  const schema = join(installation, 'docs/reference/portcullis.schema.json');
  if (!path.startsWith(installation + sep) || !existsSync(schema)) return '';
  return `# yaml-language-server: $schema=${relative(dirname(path), schema)}\n`;
}

/** Shows what changes, line by line, with two lines around each change. */
export function printDifference(context: CliContext, before: string, after: string): void {
  const linesOf = (text: string) => (text === '' ? [] : text.trimEnd().split('\n'));
  // util.diff marks what only its first argument has with 1, and what only its second has with -1.
  const changes = diff(linesOf(after), linesOf(before)) as [number, string][];
  const near = (at: number) => changes.slice(Math.max(0, at - 2), at + 3).some(([operation]) => operation !== 0);
  for (const [at, [operation, line]] of changes.entries()) {
    if (operation === 0 && near(at)) printLine(context, `  ${line}`);
    if (operation > 0) context.stdout.write(`${styled(context, context.stdout, 'green', `+ ${visible(line)}`)}\n`);
    if (operation < 0) context.stdout.write(`${styled(context, context.stdout, 'red', `- ${visible(line)}`)}\n`);
  }
}

/** What is still to be done when the file was written. */
export function sayWhatNext(context: CliContext, path: string, unset: readonly string[]): void {
  if (unset.length === 0)
    return printNote(context, `Written to ${path}. A gate that runs on this file reloads it by itself.`);
  printNote(context, `Written to ${path}. Not set here: ${unset.join(', ')}.`);
  printNote(context, 'Put it into the environment of the gate, or into .env where it runs, and restart the gate.');
}
