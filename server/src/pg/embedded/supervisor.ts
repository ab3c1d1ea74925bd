import type { ChildProcess } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../base/log.ts';
import { failureSince, openLog, rotateLog } from './log-file.ts';
import { clearOrphan, sendSignal, spawnPostmaster, stopProcess, waitUntilReady } from './postmaster.ts';
import type { Layout } from './data-dir.ts';
import type { ServerUser } from './unprivileged.ts';

export interface SupervisorOptions {
  readonly layout: Layout;
  readonly postgres: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly user: ServerUser | undefined;
  readonly log: Logger;
}

const readyMs = 120_000;
const startAttempts = 20;
const startPauseMs = 500;
const restartPauseMs = 250;
const restartPauseMaxMs = 30_000;
const steadyMs = 60_000;
const logCheckMs = 60_000;

// What passes by itself: the processes of a killed postmaster take a moment to let go of its memory and its port.
const passing = /shared memory block|could not bind|lock file/;

/** Keeps one PostgreSQL running on a cluster, from `start` to `stop`. The caller holds the data lock. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #child: ChildProcess | undefined;
  readonly #stopping = new AbortController();
  #restarting: Promise<void> = Promise.resolve();
  #failures = 0;
  #readyAt = 0;
  #logTimer: NodeJS.Timeout | undefined;
  /** A process that ends without `stop` takes its server along. */
  readonly #onProcessExit = () => {
    if (this.#child?.pid !== undefined) sendSignal(this.#child.pid, 'SIGINT');
  };

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Undefined while no server runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the server accepts connections. */
  async start(): Promise<void> {
    process.on('exit', this.#onProcessExit);
    this.#logTimer = setInterval(() => {
      rotateLog(this.#options.layout.logFile).catch((err: unknown) =>
        this.#options.log.warn({ err }, 'The log of PostgreSQL could not be rotated.'),
      );
    }, logCheckMs).unref();
    try {
      await this.#launch();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Fast shutdown: sessions are ended, what was committed is kept. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#logTimer);
    await this.#restarting;
    const child = this.#child;
    if (child?.pid !== undefined) await stopProcess(child.pid, () => isRunning(child));
    process.off('exit', this.#onProcessExit);
  }

  async #launch(): Promise<void> {
    const { layout, postgres, settings, user, log } = this.#options;
    for (let attempt = 1; ; attempt++) {
      if ((await clearOrphan(layout.cluster)) === 'stopped') log.warn('Stopped a PostgreSQL that an earlier run left.');
      for (const entry of await readdir(layout.sockets)) await rm(join(layout.sockets, entry), { force: true });
      const logFile = await openLog(layout.logFile, user);
      const { size } = await logFile.stat();
      const child = spawnPostmaster({ postgres, cluster: layout.cluster, settings, user, logDescriptor: logFile.fd });
      this.#child = child;
      const ended = new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        child.once('error', () => resolve());
      });
      await logFile.close();
      if (await waitUntilReady(child, layout.cluster, readyMs, this.#stopping.signal)) {
        void ended.then(() => this.#onEnd());
        this.#readyAt = performance.now();
        return;
      }
      const reason = await failureSince(layout.logFile, size);
      if (attempt === startAttempts || this.#stopping.signal.aborted || !passing.test(reason)) {
        throw new Error(`PostgreSQL did not start; its log is ${layout.logFile}. ${reason}`);
      }
      await sleep(startPauseMs);
    }
  }

  #onEnd(): void {
    this.#child = undefined;
    if (this.#stopping.signal.aborted) return;
    if (performance.now() - this.#readyAt > steadyMs) this.#failures = 0;
    this.#options.log.error({ failures: this.#failures }, 'PostgreSQL ended by itself and is started again.');
    this.#restarting = this.#restart();
  }

  /** Tries until it succeeds or `stop`, ever more slowly: what ended the server (a full disk) may pass. */
  async #restart(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const pause = Math.min(restartPauseMs * 2 ** this.#failures, restartPauseMaxMs);
      this.#failures += 1;
      await sleep(pause, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await this.#launch();
        return;
      } catch (err) {
        this.#options.log.error({ err }, 'PostgreSQL could not be started again.');
      }
    }
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
