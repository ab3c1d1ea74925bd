import { copyFile, open, rm, stat, truncate, type FileHandle } from 'node:fs/promises';
import { embeddedLogBytesMax } from '../../base/limits.ts';
import { handTo, type ServerUser } from './unprivileged.ts';

const failureBytesMax = 64 * 1024;

/** Opens the server's log for appending. The server writes to it by itself, so that it outlives us without blocking. */
export async function openLog(path: string, user: ServerUser | undefined): Promise<FileHandle> {
  await rotateLog(path);
  const handle = await open(path, 'a', 0o600);
  await handTo(path, user);
  return handle;
}

/** Keeps the log and one older part of it bounded. The file stays the same one: the server has it open. */
export async function rotateLog(path: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined || stats.size < embeddedLogBytesMax) return;
  await rm(`${path}.1`, { force: true });
  await copyFile(path, `${path}.1`);
  await truncate(path);
}

/** The last line after byte `from` that says why the server ended, for an error message; empty when there is none. */
export async function failureSince(path: string, from: number): Promise<string> {
  const handle = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(failureBytesMax), 0, failureBytesMax, from);
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
    return lines.findLast((line) => /\b(FATAL|PANIC):|error while loading/.test(line)) ?? '';
  } finally {
    await handle.close();
  }
}
