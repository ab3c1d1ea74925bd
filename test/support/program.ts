import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

const main = resolve(import.meta.dirname, '../../server/src/main.ts');

export interface RunOptions {
  /** Besides PATH, which is all that a program has of our own environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** The program; `node server/src/main.ts` unless it is another. */
  readonly command?: readonly string[];
}

/** A program that was started, with everything that it wrote. */
export class Program {
  readonly process: ChildProcess;
  readonly exited: Promise<number | null>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], { env = {}, cwd, command = [process.execPath, main] }: RunOptions) {
    const [file = '', ...before] = command;
    this.process = spawn(file, [...before, ...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', ...env },
    });
    this.process.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.process.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    // A test that fails must not leave it behind.
    const kill = () => this.process.kill('SIGKILL');
    process.once('exit', kill);
    this.exited = once(this.process, 'close').then(([code]) => {
      process.off('exit', kill);
      return code as number | null;
    });
  }

  get output(): string {
    return this.stdout + this.stderr;
  }

  /** Sends a signal and waits for the end. @returns the exit code; null after a signal that it did not handle */
  end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.process.kill(signal);
    return this.exited;
  }
}

/** Runs a program to its end. */
export async function run(
  args: readonly string[],
  options: RunOptions,
): Promise<Program & { readonly code: number | null }> {
  const program = new Program(args, options);
  return Object.assign(program, { code: await program.exited });
}
