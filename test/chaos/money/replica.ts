import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sendSignal } from '../../../server/src/pg/embedded/postmaster.ts';
import { processIdentity } from '../../../server/src/pg/embedded/processes.ts';
import { TestGate, type GateOptions } from '../../support/gate.ts';

/** One life of a gateway process. */
export interface Life {
  /** Epoch milliseconds. */
  readonly startedAt: number;
  killedAt: number | null;
}

export type ReplicaState = 'starting' | 'serving' | 'paused' | 'ended';

const preload = pathToFileURL(join(import.meta.dirname, 'clock-preload.ts')).href;

const lastWordsCharsMax = 1_000;

/** A gateway that is killed, stopped and set wrong, and always comes back. */
export class Replica {
  readonly gate: TestGate;
  readonly lives: Life[] = [];
  /** The last words of processes that ended by themselves while they served. */
  readonly deaths: string[] = [];
  state: ReplicaState = 'ended';
  readonly #clockFile: string;
  #returning: Promise<void> = Promise.resolve();
  #stopping = false;

  /** @param folder for what outlives a process: its clock, and its compiled code, so that it starts soon */
  constructor(folder: string, options: GateOptions & { readonly database: NonNullable<GateOptions['database']> }) {
    this.#clockFile = join(folder, 'clock');
    this.gate = new TestGate(options.database, {
      ...options,
      env: {
        ...options.env,
        NODE_OPTIONS: `--import=${preload}`,
        NODE_COMPILE_CACHE: join(folder, 'compiled'),
        CHAOS_CLOCK_FILE: this.#clockFile,
      },
    });
  }

  /** Starts it for the first time. @throws Error with its output when it does not come up */
  async open(): Promise<void> {
    this.lives.push({ startedAt: Date.now(), killedAt: null });
    await this.gate.start();
    this.state = 'serving';
  }

  /** `kill -9`, whatever it is doing; it comes back by itself. @returns what it was doing */
  async kill(): Promise<ReplicaState> {
    const was = this.state;
    if (was === 'ended') return was;
    this.look();
    this.state = 'ended';
    const life = this.lives.at(-1);
    if (life) life.killedAt = Date.now();
    await this.gate.end('SIGKILL');
    // A start that was cut short begins again by itself.
    if (was !== 'starting') this.#returning = this.#start();
    return was;
  }

  /** Notes a process that is gone although nobody killed it. */
  look(): void {
    const serves = this.state === 'serving' || this.state === 'paused';
    if (serves && processIdentity(this.gate.pid) === undefined)
      this.deaths.push(this.gate.output.slice(-lastWordsCharsMax));
  }

  /** SIGSTOP; SIGCONT after so long, unless it was killed. */
  pause(ms: number): void {
    if (this.state !== 'serving') return;
    const { pid } = this.gate;
    sendSignal(pid, 'SIGSTOP');
    this.state = 'paused';
    setTimeout(() => {
      if (this.state !== 'paused' || this.gate.pid !== pid) return;
      sendSignal(pid, 'SIGCONT');
      this.state = 'serving';
    }, ms);
  }

  /** Sets its wall clock. */
  shift(offsetMs: number): void {
    writeFileSync(this.#clockFile, String(offsetMs));
  }

  /** Resolves when it serves. */
  async back(): Promise<void> {
    while (this.state !== 'serving') {
      await this.#returning;
      await new Promise((later) => setTimeout(later, 50));
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.state === 'paused') sendSignal(this.gate.pid, 'SIGCONT');
    await this.gate.stop();
  }

  /** Again and again: it cannot start while the database is away. */
  async #start(): Promise<void> {
    while (!this.#stopping) {
      this.state = 'starting';
      const life: Life = { startedAt: Date.now(), killedAt: null };
      this.lives.push(life);
      try {
        await this.gate.start();
        if (life.killedAt !== null) continue;
        this.state = 'serving';
        return;
      } catch {
        await new Promise((later) => setTimeout(later, 100));
      }
    }
  }
}
