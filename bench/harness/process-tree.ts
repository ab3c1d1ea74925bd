import { readdirSync, readFileSync } from 'node:fs';

/** CPU time and memory of running processes, from Linux's /proc (proc(5)). */

/** The unit of times in /proc: USER_HZ, 100 on every Linux that Node runs on. */
const microsecondsPerTick = 10_000;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly cpuTicks: number;
}

/** Microseconds of CPU that a process and all its descendants have used, in all threads, ended children included. */
export function cpuUs(root: number): number {
  return tree(root).reduce((sum, each) => sum + each.cpuTicks, 0) * microsecondsPerTick;
}

/** MiB of resident memory of a process and its descendants; 0 when it is gone. */
export function residentMib(root: number): number {
  return tree(root).reduce((sum, { pid }) => sum + residentKib(pid), 0) / 1024;
}

/** The pids of all processes below this one. */
export function descendants(root: number): number[] {
  return tree(root)
    .map(({ pid }) => pid)
    .filter((pid) => pid !== root);
}

function residentKib(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/u.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function tree(root: number): Stat[] {
  const all = readdirSync('/proc').flatMap((name) => (/^\d+$/u.test(name) ? (readStat(Number(name)) ?? []) : []));
  const found = all.filter((each) => each.pid === root);
  for (const { pid } of found) found.push(...all.filter((each) => each.parent === pid));
  return found;
}

function readStat(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name, in parentheses, may hold spaces; fields after it are 3 (state), 4 (ppid), 14-17 (times).
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [utime, stime, cutime, cstime] = fields.slice(11, 15).map(Number);
    return { pid, parent: Number(fields[1]), cpuTicks: (utime ?? 0) + (stime ?? 0) + (cutime ?? 0) + (cstime ?? 0) };
  } catch {
    return null; // It ended between the listing and the reading.
  }
}
