import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { descendants } from './process-tree.ts';

/** The target has a core for itself; all that loads it shares the others. `all` may run on every core. */
export type Side = 'target' | 'load' | 'all';

/** A process of the benchmark; what it prints (but for lines that are read) goes to its log file. */
export interface Child {
  readonly pid: number;
  /** The next line of its stdout. @throws Error with the end of the log when it ends instead */
  line(): Promise<string>;
  /** Writes a line to its stdin. */
  send(line: string): void;
  /** @throws Error with the end of the log when the process has ended */
  alive(): void;
  /** Waits for its end. @throws Error with the end of the log when it fails, or takes too long */
  success(timeoutMs: number): Promise<void>;
  /** SIGTERM; SIGKILL to it and all below it when that does not end it. */
  stop(): Promise<void>;
}

interface ChildOptions {
  readonly name: string;
  readonly side: Side;
  readonly logFile: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Its stdout is read line by line; otherwise it goes to the log. */
  readonly talks?: boolean;
}

const stopMs = 20_000;
const quotedLogChars = 2_000;
const running = new Set<Child>();
let over = false;

/** Starts a process that ends with the benchmark at the latest. */
export function startChild(command: readonly string[], options: ChildOptions): Child {
  const { name, side, logFile, talks = false } = options;
  if (over) throw new Error('the benchmark is being stopped');
  const [file = '', ...args] = [...pin(side), ...command];
  const log = openSync(logFile, 'a');
  const child = spawn(file, args, {
    stdio: ['pipe', talks ? 'pipe' : log, log],
    env: { ...process.env, ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    // Ctrl-C in the terminal reaches this process alone, which then stops the others in order.
    detached: true,
  });
  closeSync(log);
  const exited = once(child, 'exit').catch((error: unknown) => [error]);
  const lines = child.stdout === null ? null : createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = () => {
    const end = endOfLog(logFile);
    return new Error(`${name} ended with ${child.signalCode ?? child.exitCode ?? 'an error'}${end && `:\n${end}`}`);
  };
  const hasEnded = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  // A write to a process that has just ended is reported by whoever waits for its answer.
  child.stdin?.on('error', () => {});

  const self: Child = {
    pid: child.pid ?? 0,
    async line() {
      const next = await lines?.next();
      if (next === undefined || next.done === true) {
        await exited;
        throw ended();
      }
      return next.value;
    },
    send: (line) => void child.stdin?.write(`${line}\n`),
    alive() {
      if (hasEnded()) throw ended();
    },
    async success(timeoutMs) {
      await Promise.race([exited, sleep(timeoutMs, undefined, { ref: false })]);
      if (!hasEnded()) await self.stop();
      running.delete(self);
      if (child.exitCode !== 0) throw ended();
    },
    async stop() {
      running.delete(self);
      if (hasEnded()) return;
      child.kill('SIGTERM');
      await Promise.race([exited, sleep(stopMs, undefined, { ref: false })]);
      if (!hasEnded()) for (const pid of [...descendants(self.pid), self.pid]) process.kill(pid, 'SIGKILL');
      await exited;
    },
  };
  running.add(self);
  return self;
}

/** The last lines that a process wrote. */
export function endOfLog(logFile: string): string {
  const text = existsSync(logFile) ? readFileSync(logFile, 'utf8') : '';
  return text.trim().slice(-quotedLogChars);
}

/** Stops whatever still runs; nothing can be started any more. */
export async function stopChildren(): Promise<void> {
  over = true;
  await Promise.all([...running].map((child) => child.stop()));
}

/** True where each side has cores of its own. */
export const pinning =
  availableParallelism() > 1 && spawnSync('taskset', ['-p', String(process.pid)], { stdio: 'ignore' }).status === 0;

function pin(side: Side): string[] {
  const cores = coresOf(side);
  return cores === null ? [] : ['taskset', '-c', cores];
}

/** The cores of a side, as taskset(1) has them; null is all. */
export function coresOf(side: Side): string | null {
  if (!pinning || side === 'all') return null;
  const last = availableParallelism() - 1;
  return side === 'target' ? String(last) : `0-${last - 1}`;
}
