import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { readyLine, type WorkerJob } from './worker/job.ts';

const main = fileURLToPath(new URL('worker/main.ts', import.meta.url));

/** A delivery engine that is killed and always comes back. */
export class Worker {
  readonly #job: WorkerJob;
  #process: ChildProcess | null = null;

  constructor(job: WorkerJob) {
    this.#job = job;
  }

  /** Resolves when it works. @throws Error when it ends instead */
  async start(): Promise<void> {
    const child = spawn(process.execPath, [main, JSON.stringify(this.#job)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process = child;
    const lines = createInterface(child.stdout);
    const ended = once(child, 'exit').then(() => {
      throw new Error('a worker ended before it worked');
    });
    const ready = new Promise<void>((resolve) => {
      lines.on('line', (line) => line === readyLine && resolve());
    });
    await Promise.race([ready, ended]);
    ended.catch(() => undefined);
  }

  /** @returns when it is gone */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
