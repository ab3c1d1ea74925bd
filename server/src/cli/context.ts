import type { Config } from '../config/config.ts';

/** Where the CLI reads and writes, so that tests can run a command without a process. */
export interface CliContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  /** Starts a gate in this process; given by the composition root, which alone knows how. */
  readonly start: (config: Config, notice: (line: string) => void) => Promise<RunningGate>;
}

/** A gate that listens. */
export interface RunningGate {
  readonly url: string;
  /** Null where nothing was embedded: keys are then made by API. */
  readonly credentialsFile: string | null;
  readonly agentKey: string | null;
  /** Stops taking work, lets streams end, releases everything. */
  drain(): Promise<void>;
}

/**
 * A failure that the person at the terminal caused or can mend: printed as one line, with this exit code. An empty
 * message prints nothing: all was said.
 */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
