import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';

/** How a command ended. */
export interface Ending {
  /** As a shell says it: 128 and the signal's number for one that a signal ended. */
  readonly exitCode: number;
  readonly signal: NodeJS.Signals | null;
}

export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
}

const forwarded = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Keeps this process alive through the signals that end a command, and hands them to it: a run is finished by whoever
 * started it. Release it when the run is over.
 */
export class Signals implements Disposable {
  #child: ChildProcess | null = null;
  #received: NodeJS.Signals | null = null;
  readonly #again: () => void;

  /** @param again called when a signal comes while no command is there for it, and it is not the first one */
  constructor(again: () => void) {
    this.#again = again;
    for (const signal of forwarded) process.on(signal, this.#take);
  }

  /** The signal that came last, whether the command was there for it or not. */
  get received(): NodeJS.Signals | null {
    return this.#received;
  }

  /**
   * Runs a command on this terminal to its end.
   * @throws Error of the system when it cannot be started
   */
  async run({ command, args, cwd, environment }: CommandLine): Promise<Ending> {
    const child = spawn(command, args, { cwd, env: environment, stdio: 'inherit' });
    this.#child = child;
    try {
      const [exitCode, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      return { exitCode: exitCode ?? codeOf(signal), signal };
    } finally {
      this.#child = null;
    }
  }

  [Symbol.dispose](): void {
    for (const signal of forwarded) process.off(signal, this.#take);
  }

  readonly #take = (signal: NodeJS.Signals): void => {
    const isFirst = this.#received === null;
    this.#received = signal;
    if (this.#child === null && !isFirst) this.#again();
    // A terminal sends these to the command itself, for which twice may mean something else than once.
    const fromTerminal = (signal === 'SIGINT' || signal === 'SIGQUIT') && hasTerminal();
    if (!fromTerminal) this.#child?.kill(signal);
  };
}

/** The exit code for a command that a signal ended. */
export function codeOf(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : constants.signals[signal]);
}

function hasTerminal(): boolean {
  return [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
}
