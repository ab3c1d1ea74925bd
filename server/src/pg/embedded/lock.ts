import { writeFileSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from './processes.ts';

/** Holds a data folder for one process. */
export interface DataLock {
  release(): Promise<void>;
}

const attempts = 100;
const pauseMs = 20;
const emptyMs = 200;

/**
 * Takes the lock file, which names the holder by pid and start time; one left by a process that is gone is taken over.
 * @param subject what the file guards, for the refusal
 * @throws Error when a living process holds it
 */
export async function acquireLock(path: string, subject: string): Promise<DataLock> {
  const record = `${process.pid} ${processIdentity(process.pid)}\n`;
  const lock = { release: () => rm(path, { force: true }) };
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (create(path, record)) return lock;
    const found = await readRecord(path);
    if (found === undefined) continue;
    const holder = livingHolder(found);
    if (holder !== undefined) {
      throw new Error(`${subject} is in use by process ${holder}: stop that one first, or use another DATA_DIR.`);
    }
    if (await takeOver(path, found, record)) return lock;
    await sleep(pauseMs);
  }
  throw new Error(`${subject} could not be locked: other processes are starting on it at the same time.`);
}

/**
 * Replaces a lock whose holder is gone. Whoever has the second file decides alone, and looks again first: the lock may
 * have found a new holder since `judged` was read.
 */
async function takeOver(path: string, judged: string, record: string): Promise<boolean> {
  const claim = `${path}.takeover`;
  if (!create(claim, record)) {
    if (livingHolder((await readRecord(claim)) ?? record) === undefined) await rm(claim, { force: true });
    return false;
  }
  try {
    if ((await readRecord(path)) !== judged) return false;
    await writeFile(`${path}.new`, record, { mode: 0o644 });
    await rename(`${path}.new`, path);
    return true;
  } finally {
    await rm(claim, { force: true });
  }
}

/** Synchronous, so that nothing of ours comes between the making of the file and its content. */
function create(path: string, record: string): boolean {
  try {
    writeFileSync(path, record, { flag: 'wx', mode: 0o644 });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** What the file says, undefined when it went away meanwhile. One that is being made is empty for a moment. */
async function readRecord(path: string): Promise<string | undefined> {
  for (let waited = 0; ; waited += pauseMs) {
    const found = await readFile(path, 'utf8').catch(() => undefined);
    if (found !== '' || waited >= emptyMs) return found;
    await sleep(pauseMs);
  }
}

function livingHolder(record: string): number | undefined {
  const [pid = '', identity] = record.trim().split(' ');
  const number = Number(pid);
  return Number.isSafeInteger(number) && number > 0 && processIdentity(number) === identity ? number : undefined;
}
