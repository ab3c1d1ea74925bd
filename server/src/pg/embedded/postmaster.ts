import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanEnvironment } from './cluster.ts';
import type { Layout } from './data-dir.ts';
import { isProgramIn, processIdentity } from './processes.ts';
import type { ServerUser } from './unprivileged.ts';

/** How one server process is started. */
export interface Launch {
  readonly postgres: string;
  readonly cluster: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly user: ServerUser | undefined;
  readonly logDescriptor: number;
}

const pollMs = 20;
const foreignMs = 2_000;
const fastShutdownMs = 15_000;
const immediateShutdownMs = 5_000;

/** Starts PostgreSQL in its own session: the terminal's Ctrl-C is ours to translate into an orderly stop. */
export function spawnPostmaster(launch: Launch): ChildProcess {
  const settings = Object.entries(launch.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return spawn(launch.postgres, ['-D', launch.cluster, ...settings], {
    ...launch.user,
    cwd: launch.cluster,
    env: cleanEnvironment,
    stdio: ['ignore', launch.logDescriptor, launch.logDescriptor],
    detached: true,
  });
}

/**
 * Waits until the server accepts connections: the status line of postmaster.pid, as pg_ctl does it.
 * @returns false when the process ended or `signal` aborted instead
 * @throws Error when it cannot be run at all, or takes too long
 */
export async function waitUntilReady(
  child: ChildProcess,
  cluster: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  let failure: Error | undefined;
  child.once('error', (error) => (failure = error));
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if (failure) throw new Error(`PostgreSQL cannot be run here: ${failure.message}`, { cause: failure });
    if (signal.aborted || child.exitCode !== null || child.signalCode !== null) return false;
    const lines = await pidFileLines(cluster);
    if (Number(lines[0]) === child.pid && lines[7]?.startsWith('ready') === true) return true;
    await sleep(pollMs);
  }
  throw new Error(`PostgreSQL was not ready within ${timeoutMs / 1000} s.`);
}

/**
 * Process numbers say nothing across containers that share a folder, but a socket answers there too.
 * @throws Error when a server answers whose process we cannot see
 */
export async function refuseForeignServer(layout: Layout): Promise<void> {
  // A process that is being killed is out of sight a little before its socket falls silent.
  for (let waited = 0; waited < foreignMs; waited += pollMs) {
    const [pid] = await pidFileLines(layout.cluster);
    if (pid !== undefined && isPostmasterOf(Number(pid), layout.cluster)) return;
    if (!(await accepts(layout.socket))) return;
    await sleep(pollMs);
  }
  throw new Error(`The data in ${layout.dataDir} is in use from another container: stop that one first.`);
}

/**
 * Ends whatever an earlier owner of this cluster left behind: a server that outlived it is stopped, and a postmaster.pid
 * whose number belongs to another program by now is removed. Only the holder of the data lock may call this.
 */
export async function clearOrphan(cluster: string): Promise<'none' | 'stopped'> {
  const [pidLine] = await pidFileLines(cluster);
  if (pidLine === undefined) return 'none';
  const pid = Number(pidLine);
  if (isPostmasterOf(pid, cluster)) {
    await stopProcess(pid, () => isPostmasterOf(pid, cluster));
    return 'stopped';
  }
  await rm(join(cluster, 'postmaster.pid'), { force: true });
  return 'none';
}

/** Fast shutdown, then immediate, then the kernel's; returns when `alive` says no. */
export async function stopProcess(pid: number, alive: () => boolean): Promise<void> {
  const steps = [
    ['SIGINT', fastShutdownMs],
    ['SIGQUIT', immediateShutdownMs],
    ['SIGKILL', immediateShutdownMs],
  ] as const;
  for (const [signal, patienceMs] of steps) {
    sendSignal(pid, signal);
    for (let waited = 0; waited < patienceMs && alive(); waited += pollMs) await sleep(pollMs);
    if (!alive()) return;
  }
  throw new Error(`PostgreSQL (process ${pid}) does not end.`);
}

/** Signals a process that may be gone already. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function isPostmasterOf(pid: number, cluster: string): boolean {
  return processIdentity(pid) !== undefined && isProgramIn(pid, 'postgres', cluster);
}

async function pidFileLines(cluster: string): Promise<string[]> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  return text === '' ? [] : text.split('\n');
}

async function accepts(socket: string): Promise<boolean> {
  const connection = connect(socket);
  try {
    await once(connection, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    connection.destroy();
  }
}
