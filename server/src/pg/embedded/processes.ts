import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/**
 * What tells a process from a later one with the same number: its start time. Undefined when there is no such process,
 * or only its zombie.
 */
export function processIdentity(pid: number): string | undefined {
  if (process.platform !== 'linux') return ps(pid, 'lstart=');
  const stat = readProc(pid, 'stat');
  // The second field is the command in parentheses and may hold anything; the state is the first one after it (proc(5)).
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (state === undefined || state === '' || state === 'Z' || state === 'X') return undefined;
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return `${bootId}/${fields[18]}`;
}

/** True when the process runs the program named, in the folder given (macOS: with the folder among its arguments). */
export function isProgramIn(pid: number, program: string, folder: string): boolean {
  if (process.platform !== 'linux') {
    const command = ps(pid, 'command=') ?? '';
    return command.includes(`/${program} `) && command.includes(` ${folder} `);
  }
  const [path = ''] = readProc(pid, 'cmdline').split('\0');
  return basename(path) === program && workingFolder(pid) === folder;
}

function workingFolder(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function ps(pid: number, column: string): string | undefined {
  try {
    return execFileSync('ps', ['-ww', '-o', column, '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
  } catch {
    return undefined;
  }
}
