import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
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
  let text: string;
  try {
    requireOwn(path);
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

/** Readable by its owner alone, and written at once or not at all. For {@link underLock}. */
export function writeLogin(path: string, login: SavedLogin): void {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(draft, `${JSON.stringify(login, null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}

export function removeLogin(path: string): void {
  rmSync(path, { force: true });
}

// Longer than a refresh can take: whoever held it that long is gone.
const staleMs = 30_000;
const waitMs = 50;

/**
 * Runs `work` while no other process of this user does. It spares requests; what makes two refreshes at once harmless is
 * the server, which gives both the same.
 */
export async function underLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const lock = `${path}.lock`;
  while (!takeLock(lock)) {
    if (ageOf(lock) > staleMs) rmSync(lock, { force: true });
    else await sleep(waitMs);
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
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

function requireOwn(path: string): void {
  if (process.platform === 'win32') return;
  const { mode, uid } = lstatSync(path);
  const owner = process.getuid?.();
  if ((mode & 0o077) === 0 && (owner === undefined || uid === owner)) return;
  throw new CliError(
    `${path} can be read by others, or is not yours: run \`chmod 600\` on it if that was you, else log in again.`,
  );
}
