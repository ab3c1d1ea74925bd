import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { layoutOf } from '../../server/src/pg/embedded/data-dir.ts';
import { eventually } from './doors.ts';
import { Program } from './program.ts';

export interface Credentials {
  readonly url: string;
  readonly admin_key: string;
  readonly agent_key: string;
}

/** A folder in which `portcullis up` is run, as somebody would who tries it. */
export class Workplace {
  readonly folder = mkdtempSync(join(tmpdir(), 'portcullis-up-'));
  readonly dataDir = join(this.folder, 'data');
  readonly logFile = join(this.folder, 'gate.log');
  readonly #programs: Program[] = [];

  constructor() {
    // As root PostgreSQL runs under a user who must get through to the data.
    chmodSync(this.folder, 0o755);
  }

  /** Starts `portcullis up` and waits until it says that it is up. @throws Error with its output when it is not */
  async up(env: Readonly<Record<string, string>> = {}): Promise<Program> {
    const program = this.run(['up'], env);
    await eventually(() => {
      const { exitCode, signalCode } = program.process;
      if (exitCode !== null || signalCode !== null) throw new Error(`it ended with ${exitCode}:\n${program.output}`);
      if (!program.stdout.includes('Ctrl-C stops everything')) throw new Error(`it is not up:\n${program.output}`);
    }, 60_000);
    return program;
  }

  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
    const own = { DATA_DIR: this.dataDir, HTTP_ADDR: '127.0.0.1:0', GRPC_ADDR: '127.0.0.1:0', LOG_FILE: this.logFile };
    const program = new Program(args, { cwd: this.folder, env: { ...own, ...env } });
    this.#programs.push(program);
    return program;
  }

  get credentialsFile(): string {
    return join(this.dataDir, 'credentials.json');
  }

  get credentials(): Credentials {
    return JSON.parse(readFileSync(this.credentialsFile, 'utf8')) as Credentials;
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** The process of PostgreSQL. */
  get postmaster(): number {
    const { cluster } = layoutOf(this.dataDir);
    return Number(readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0]);
  }

  /** The command lines of processes that work on the data. */
  processes(): string[] {
    const all = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n');
    return all.filter((line) => line.includes(this.dataDir));
  }

  async remove(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
