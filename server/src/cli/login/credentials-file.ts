import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
  constants,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { CliError, type CliContext } from '../context.ts';

const savedLogin = z.object({
  server: z.string(),
  /** The API key, and when it ends in epoch milliseconds. */
  key: z.string(),
  expires_at: z.number(),
  refresh_credential: z.string(),
});

/** What `portcullis login` leaves: which gate, and the credentials of the login. */
export type SavedLogin = z.infer<typeof savedLogin>;

/** Where it lies; null where there is no home. */
export function loginPath({ environment }: Pick<CliContext, 'environment'>): string | null {
  const home = environment['HOME'];
  // XDG Base Directory Specification: a relative path is invalid, and to be ignored.
  const config = environment['XDG_CONFIG_HOME'];
  const base = config?.startsWith('/') ? config : home ? join(resolve(home), '.config') : null;
  return base === null ? null : join(base, 'portcullis', 'credentials.json');
}

/**
 * The login that was kept; null where there is none.
 * @throws CliError for a file that others can read or could have written, or that is damaged
 */
export function readLogin(path: string): SavedLogin | null {
  return read(path, 0o077);
}

/**
 * The same, also from a file that others can read: to end the login, which they may have by now.
 * @throws CliError for a file that others could have written, which may name another gate, or that is damaged
 */
export function readLoginToEnd(path: string): SavedLogin | null {
  return read(path, 0o022);
}

function read(path: string, forbiddenMode: number): SavedLogin | null {
  let text: string;
  try {
    requireOwn(path, forbiddenMode);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null;
    throw new CliError(`${path} cannot be read: log in again with \`portcullis login\`.`);
  }
  try {
    return savedLogin.parse(JSON.parse(text));
  } catch {
    throw new CliError(`${path} is damaged: remove it, and log in again with \`portcullis login\`.`);
  }
}

// More than a login takes.
const draftBytes = 4096;

/**
 * Writes the login that `ask` gets, readable by its owner alone, and at once or not at all. Room for it is taken before
 * `ask` runs: a credential that is used up and whose successor cannot be kept would end the login. For {@link underLock}.
 * @throws CliError when it cannot be written, or whatever `ask` throws
 */
export async function writeLogin(path: string, ask: () => Promise<SavedLogin>): Promise<SavedLogin> {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  let file: number | null = null;
  try {
    const opened = written(path, () => openSync(draft, 'wx', 0o600));
    file = opened;
    written(path, () => {
      writeSync(opened, ' '.repeat(draftBytes), 0);
      fsyncSync(opened);
    });
    const login = await ask();
    written(path, () => {
      const text = Buffer.from(`${JSON.stringify(login, null, 2)}\n`);
      writeSync(opened, text, 0, text.length, 0);
      ftruncateSync(opened, text.length);
      fsyncSync(opened);
      renameSync(draft, path);
    });
    return login;
  } finally {
    if (file !== null) closeSync(file);
    rmSync(draft, { force: true });
  }
}

function written<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new CliError(
      `${path} cannot be written (${why}): make room for it, or set XDG_CONFIG_HOME to another folder.`,
    );
  }
}

export function removeLogin(path: string): void {
  rmSync(path, { force: true });
}

// Longer than a refresh can take: whoever held it that long is gone.
const staleMs = 20_000;
const waitMs = 50;
const waitMsMax = 25_000;

/**
 * Runs `work` while no other process of this user does. It spares requests; what makes two refreshes at once harmless is
 * the server, which gives both the same.
 * @throws CliError when the folder is not one's own or cannot be written, or others hold the lock for too long
 */
export async function underLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  makeOwnFolder(dirname(path));
  const lock = `${path}.lock`;
  const end = performance.now() + waitMsMax;
  while (!takeLock(lock)) {
    // A clock that was set back makes a lock of the future.
    if (Math.abs(ageOf(lock)) > staleMs) rmSync(lock, { force: true });
    else if (performance.now() > end)
      throw new CliError(`${lock} is held by another process: try again, or remove it.`);
    else await sleep(waitMs);
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Takes away what others may in it. Through a handle that follows no link: the folder of somebody else is left alone. */
function makeOwnFolder(folder: string): void {
  let handle: number | null = null;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (process.platform === 'win32') return;
    const owner = lstatSync(folder).uid;
    if (process.getuid?.() !== owner) throw new Error('it is not yours');
    handle = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    fchmodSync(handle, 0o700);
  } catch {
    throw new CliError(`${folder} must be a folder of your own, no link to one: the login is kept nowhere else.`);
  } finally {
    if (handle !== null) closeSync(handle);
  }
}

function takeLock(lock: string): boolean {
  try {
    closeSync(openSync(lock, 'wx', 0o600));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw new CliError(`${dirname(lock)} cannot be written: the login cannot be refreshed.`);
  }
}

function ageOf(lock: string): number {
  try {
    return Date.now() - lstatSync(lock).mtimeMs;
  } catch {
    return 0;
  }
}

function requireOwn(path: string, forbiddenMode: number): void {
  if (process.platform === 'win32') return;
  const { mode, uid } = lstatSync(path);
  const owner = process.getuid?.();
  if ((mode & forbiddenMode) === 0 && (owner === undefined || uid === owner)) return;
  throw new CliError(
    `${path} can be read by others, or is not yours: run \`chmod 600\` on it if that was you, else log in again.`,
  );
}
