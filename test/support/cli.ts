import { PassThrough } from 'node:stream';
import { tmpdir } from 'node:os';
import type { CliContext } from '../../server/src/cli/context.ts';
import { runCli } from '../../server/src/cli/program.ts';

export interface CliRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliSetting {
  readonly environment?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly isTTY?: boolean;
}

/** A context that keeps what is written. Nothing of this process's environment gets in. */
export function testContext({ environment = {}, cwd = tmpdir(), isTTY = false }: CliSetting = {}): {
  readonly context: CliContext;
  readonly written: () => { readonly stdout: string; readonly stderr: string };
} {
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY });
  const texts = { stdout: '', stderr: '' };
  stdout.on('data', (chunk) => (texts.stdout += String(chunk)));
  stderr.on('data', (chunk) => (texts.stderr += String(chunk)));
  const notHere = () => Promise.reject(new Error('Tests of commands start no gate.'));
  const stdin = new PassThrough().end();
  const context = { environment, cwd, stdout, stderr, stdin, start: notHere, migrate: notHere };
  return { context, written: () => ({ ...texts }) };
}

/** Runs one command line in this process. */
export async function runCommand(args: readonly string[], setting: CliSetting = {}): Promise<CliRun> {
  const { context, written } = testContext(setting);
  const code = await runCli(context, args);
  return { code, ...written() };
}
