import { existsSync, realpathSync } from 'node:fs';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { canReach, serverUser } from './unprivileged.ts';

/** Where the data goes when DATA_DIR is out of reach for the user that PostgreSQL must run under. */
const systemDataDir = '/var/lib/portcullis';

/** Names the socket; nothing listens on TCP there. */
export const socketPort = 5432;

/** The paths of an embedded server. */
export interface Layout {
  readonly dataDir: string;
  /** Everything of the embedded server. */
  readonly home: string;
  readonly cluster: string;
  /** The folder of the socket, and the socket itself. */
  readonly sockets: string;
  readonly socket: string;
  readonly logFile: string;
  readonly lockFile: string;
  readonly ownerPasswordFile: string;
  readonly appPasswordFile: string;
}

export function layoutOf(dataDir: string): Layout {
  const home = join(dataDir, 'pg');
  return {
    dataDir,
    home,
    cluster: join(home, 'data'),
    sockets: join(home, 'run'),
    socket: join(home, 'run', `.s.PGSQL.${socketPort}`),
    logFile: join(home, 'postgres.log'),
    lockFile: join(home, 'lock'),
    ownerPasswordFile: join(home, 'owner.password'),
    appPasswordFile: join(home, 'app.password'),
  };
}

/**
 * The folder that holds the data for this DATA_DIR: itself, or `systemDataDir` when we are root and it lies under a folder
 * (a private home) that the unprivileged server cannot pass. Credentials are kept in the same place.
 */
export function effectiveDataDir(dataDir: string, fallback: string = systemDataDir): string {
  const wanted = realPath(dataDir);
  const user = serverUser(layoutOf(wanted).cluster);
  return user === undefined || canReach(wanted, user) ? wanted : realPath(fallback);
}

/** The absolute path without symbolic links, as far as it exists. */
export function realPath(path: string): string {
  const absolute = resolve(path);
  if (existsSync(absolute)) return realpathSync(absolute);
  return join(realPath(dirname(absolute)), basename(absolute));
}

/**
 * Makes the effective data folder. It is private, except that for root the server's user may pass through it: its
 * answer to `effectiveDataDir` must be the same ever after.
 */
export async function ensureDataDir(dataDir: string): Promise<void> {
  const asRoot = process.getuid?.() === 0;
  const first = await mkdir(dataDir, { recursive: true, mode: 0o700 });
  if (!asRoot) return;
  for (let dir = dataDir; ; dir = dirname(dir)) {
    const { mode } = await stat(dir);
    await chmod(dir, (mode & 0o7777) | 0o011);
    if (first === undefined || dir === first) return;
  }
}
