import { chmod, mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Logger } from '../../base/log.ts';
import { findPackage, locateBinaries } from './binaries.ts';
import { appRole, databaseName, ensureCluster, ensureRoleAndDatabase, makeServerFolder, ownerRole } from './cluster.ts';
import { effectiveDataDir, ensureDataDir, layoutOf, realPath, socketPort, type Layout } from './data-dir.ts';
import { acquireLock } from './lock.ts';
import { refuseForeignServer } from './postmaster.ts';
import { Supervisor } from './supervisor.ts';
import { serverUser } from './unprivileged.ts';

export interface EmbeddedOptions {
  readonly dataDir: string;
  /** Told, in sentences for the operator, where things are when that is not where one would look. */
  readonly notice: (sentence: string) => void;
  readonly log: Logger;
  /** Where the data goes when DATA_DIR is out of reach; tests set it. */
  readonly fallbackDir?: string;
  /** PostgreSQL settings over our own; tests give up durability for speed. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A running PostgreSQL of our own. */
export interface EmbeddedServer {
  /** Where the data is: `effectiveDataDir` of what was asked. */
  readonly dataDir: string;
  /** Connection strings, passwords inside. The owner's is for migrations and backups alone. */
  readonly ownerUrl: string;
  readonly appUrl: string;
  /** The server's process; undefined while none runs. */
  readonly pid: number | undefined;
  /** Fast shutdown; resolves when the process is gone and the data folder is free. */
  stop(): Promise<void>;
}

/** How the server is reached: by a socket in its own folder, or by TCP on the loopback. */
interface Transport {
  readonly host: string;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
}

// sun_path holds 104 bytes on macOS and 108 on Linux (unix(7)), the final zero included.
const socketPathBytesMax = 100;

const serverSettings = {
  cluster_name: 'portcullis',
  max_connections: '100',
  shared_buffers: '128MB',
  max_wal_size: '512MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  fsync: 'on',
  synchronous_commit: 'on',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_destination: 'stderr',
  logging_collector: 'off',
  // Statements and details would carry keys and amounts into the log; the application reports its own failures.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
} as const;

/**
 * Starts PostgreSQL on the data in `dataDir`, making it at the first start, and keeps it running until `stop`.
 * @throws Error with a sentence for the operator: data in use, programs not installed, folder not writable
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  if (process.platform === 'win32') {
    throw new Error('The embedded database runs on Linux and macOS: use WSL, or set DATABASE_URL.');
  }
  const { notice, log } = options;
  const dataDir = effectiveDataDir(options.dataDir, options.fallbackDir);
  const wanted = realPath(options.dataDir);
  if (dataDir !== wanted) {
    notice(
      `The data is in ${dataDir}: PostgreSQL does not run as root, and its unprivileged user cannot enter the folders above ${wanted}.`,
    );
  }
  const layout = layoutOf(dataDir);
  await makeHome(layout);
  await refuseForeignServer(layout);
  const lock = await acquireLock(layout.lockFile, `The data in ${dataDir}`);
  let supervisor: Supervisor | undefined;
  const stop = async () => {
    await supervisor?.stop();
    await lock.release();
  };
  try {
    const user = serverUser(layout.cluster);
    const binaries = await locateBinaries(findPackage(), layout.home, user, notice);
    await makeServerFolder(layout.sockets, user);
    const transport = await chooseTransport(layout);
    const settings = { ...serverSettings, ...transport.settings, ...options.settings };
    const passwords = await ensureCluster(layout, binaries, user, settings.fsync === 'on');
    const running = new Supervisor({ layout, postgres: binaries.postgres, settings, user, log });
    supervisor = running;
    await running.start();
    const urlOf = (role: string, password: string, database: string) =>
      `postgres://${role}:${password}@${encodeURIComponent(transport.host)}:${transport.port}/${database}?sslmode=disable`;
    await ensureRoleAndDatabase(urlOf(ownerRole, passwords.owner, 'postgres'), passwords);
    return {
      dataDir,
      ownerUrl: urlOf(ownerRole, passwords.owner, databaseName),
      appUrl: urlOf(appRole, passwords.app, databaseName),
      get pid() {
        return running.pid;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Ours; the server's user passes through to its own folders and sees nothing else. */
async function makeHome(layout: Layout): Promise<void> {
  try {
    await ensureDataDir(layout.dataDir);
    await mkdir(layout.home, { recursive: true });
    await chmod(layout.home, process.getuid?.() === 0 ? 0o711 : 0o700);
  } catch (cause) {
    throw new Error(`The data folder ${layout.dataDir} is not ours to write: choose another DATA_DIR.`, { cause });
  }
}

async function chooseTransport(layout: Layout): Promise<Transport> {
  if (Buffer.byteLength(layout.socket) <= socketPathBytesMax) {
    return {
      host: layout.sockets,
      port: socketPort,
      settings: {
        listen_addresses: '',
        port: String(socketPort),
        // A list, so a name with a comma needs the quotes.
        unix_socket_directories: `"${layout.sockets.replaceAll('"', '""')}"`,
        unix_socket_permissions: '0700',
      },
    };
  }
  const host = '127.0.0.1';
  const port = await freePort(host);
  return { host, port, settings: { listen_addresses: host, port: String(port), unix_socket_directories: '' } };
}

async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('The system gave no free port.');
  return address.port;
}
