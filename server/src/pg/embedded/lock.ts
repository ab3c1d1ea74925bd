import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from './processes.ts';

/** Holds a data folder for one process. */
export interface DataLock {
  release(): Promise<void>;
}

const attempts = 5;

/**
 * Takes the lock file, which names the holder by pid and start time; one left by a process that is gone is taken over.
 * @param subject what the file guards, for the refusal
 * @throws Error when a living process holds it
 */
export async function acquireLock(path: string, subject: string): Promise<DataLock> {
  const record = `${process.pid} ${processIdentity(process.pid)}\n`;
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      await writeFile(path, record, { flag: 'wx', mode: 0o644 });
      return { release: () => rm(path, { force: true }) };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const found = await readHolder(path);
    if (found === undefined) continue;
    const holder = livingHolder(found);
    if (holder !== undefined) {
      throw new Error(`${subject} is in use by process ${holder}: stop that one first, or use another DATA_DIR.`);
    }
    await removeStale(path, found);
  }
  throw new Error(`${subject} could not be locked: other processes are starting on it at the same time.`);
}

/** What the lock file says; undefined when it went away meanwhile. A file just made may be empty for a moment. */
async function readHolder(path: string): Promise<string | undefined> {
  for (let wait = 0; ; wait += 20) {
    const found = await readFile(path, 'utf8').catch(() => undefined);
    if (found !== '' || wait >= 200) return found;
    await sleep(20);
  }
}

function livingHolder(record: string): number | undefined {
  const [pid = '', identity] = record.trim().split(' ');
  const number = Number(pid);
  return Number.isSafeInteger(number) && number > 0 && processIdentity(number) === identity ? number : undefined;
}

/** Renames first and looks again: between our look and now another process may have taken the lock over. */
async function removeStale(path: string, judged: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) !== judged) await copyFile(aside, path, constants.COPYFILE_EXCL);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EEXIST')))
      throw error;
  } finally {
    await rm(aside, { force: true });
  }
}
