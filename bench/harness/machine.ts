import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { pinning } from './children.ts';
import { median, round } from './statistics.ts';

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Whether target and load ran on cores of their own. */
  readonly pinned: boolean;
  readonly memory_gib: number;
  readonly node: string;
  readonly kernel: string;
  /** Over the last minute, before the benchmark began: what else was running. */
  readonly load_average: number;
  /** The median time of an 8 KiB append with fdatasync: what a commit costs at least. */
  readonly disk_commit_ms: number;
}

export function describeMachine(directory: string): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    pinned: pinning,
    memory_gib: round(totalmem() / 2 ** 30),
    node: process.version,
    kernel: release(),
    load_average: round(loadavg()[0] ?? 0),
    disk_commit_ms: round(diskCommitMs(directory)),
  };
}

function diskCommitMs(directory: string): number {
  const path = join(directory, 'commit-probe');
  const file = openSync(path, 'w');
  const block = Buffer.alloc(8192, 1);
  const times = Array.from({ length: 100 }, () => {
    const startedMs = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    return performance.now() - startedMs;
  });
  closeSync(file);
  rmSync(path);
  return median(times);
}
