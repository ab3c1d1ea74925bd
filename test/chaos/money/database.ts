import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '../../../server/src/base/log.ts';
import { findPackage, locateBinaries } from '../../../server/src/pg/embedded/binaries.ts';
import { appRole } from '../../../server/src/pg/embedded/cluster.ts';
import { type Layout, layoutOf, socketPort } from '../../../server/src/pg/embedded/data-dir.ts';
import { clearOrphan, sendSignal, waitUntilReady } from '../../../server/src/pg/embedded/postmaster.ts';
import { startEmbedded } from '../../../server/src/pg/embedded/start.ts';
import { type ServerUser, serverUser } from '../../../server/src/pg/embedded/unprivileged.ts';
import { migrate } from '../../../server/src/pg/migrate.ts';
import { createPool } from '../../../server/src/pg/pool.ts';
import { type TestDatabase, testBounds } from '../../support/database.ts';
import { faketimeEnvironment, findFaketime } from './faketime.ts';

/** How the database ends: in an orderly way, by the death of one session's process, of all of it, or of every session. */
export const databaseEnds = ['postmaster', 'fast', 'backend', 'sessions'] as const;
export type DatabaseEnd = (typeof databaseEnds)[number];

const readyMs = 60_000;
const retryMs = 200;

/** The clock of the database from some moment of ours on. */
export interface ClockChange {
  /** Epoch milliseconds by our own clock. */
  readonly at: number;
  readonly offsetMs: number;
}

/**
 * A PostgreSQL of our own that may be killed and whose clock may be set. What was committed survives the death of its
 * processes without fsync: only a host that fails loses what the kernel was given.
 */
export class ChaosDatabase {
  readonly appUrl: string;
  readonly ownerUrl: string;
  /** As `TestGate` wants it. */
  readonly forGates: TestDatabase;
  /** Why its clock cannot be set; null where it can. */
  readonly clockIsFixed: string | null;
  readonly clock: ClockChange[] = [{ at: -Infinity, offsetMs: 0 }];
  readonly #layout: Layout;
  readonly #postgres: string;
  readonly #user: ServerUser | undefined;
  readonly #clockFile: string;
  readonly #logFile: string;
  readonly #environment: Record<string, string>;
  #server: ChildProcess | null = null;

  private constructor(layout: Layout, postgres: string, urls: { readonly appUrl: string; readonly ownerUrl: string }) {
    this.#layout = layout;
    this.#postgres = postgres;
    this.#user = serverUser(layout.cluster);
    this.#clockFile = join(layout.home, 'clock');
    this.#logFile = join(layout.home, 'chaos.log');
    ({ appUrl: this.appUrl, ownerUrl: this.ownerUrl } = urls);
    const pool = createPool({ ...testBounds, connectionString: urls.appUrl });
    this.forGates = { ...urls, pool, drop: () => pool.end() };
    const faketime = findFaketime();
    this.clockIsFixed = 'missing' in faketime ? faketime.missing : null;
    this.#environment = 'library' in faketime ? faketimeEnvironment(faketime.library, this.#clockFile) : {};
  }

  /** Makes the cluster with the embedded server, migrates it, and starts it again as our own. */
  static async open(): Promise<ChaosDatabase> {
    const dataDir = mkdtempSync(join(tmpdir(), 'portcullis-chaos-pg-'));
    const notice = () => undefined;
    const made = await startEmbedded({ dataDir, notice, log: createLogger('warn'), settings: { fsync: 'off' } });
    await migrate(made.ownerUrl, { appRole });
    await made.stop();
    const layout = layoutOf(made.dataDir);
    const { postgres } = await locateBinaries(findPackage(), layout.home, serverUser(layout.cluster), notice);
    const database = new ChaosDatabase(layout, postgres, made);
    database.#setClock(0);
    await database.#launch();
    return database;
  }

  get offsetMs(): number {
    return this.clock.at(-1)?.offsetMs ?? 0;
  }

  /** All that the server wrote to its log. */
  get log(): string {
    return readFileSync(this.#logFile, 'utf8');
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  /** Sets the clock forward, or back. */
  jump(ms: number): void {
    const offsetMs = this.offsetMs + ms;
    this.#setClock(offsetMs);
    this.clock.push({ at: Date.now(), offsetMs });
  }

  /** Ends it and has it back. */
  async strike(how: DatabaseEnd): Promise<void> {
    const server = this.#server;
    if (server?.pid === undefined) return;
    if (how === 'backend' || how === 'sessions') {
      // The server starts anew by itself when one of its processes was killed.
      const sessions = this.#sessions(server.pid);
      const chosen = how === 'backend' ? sessions.slice(0, 1) : sessions;
      for (const pid of chosen) sendSignal(pid, how === 'backend' ? 'SIGKILL' : 'SIGTERM');
      return;
    }
    const exited = once(server, 'exit');
    server.kill(how === 'fast' ? 'SIGINT' : 'SIGKILL');
    await exited;
    await this.#launch();
  }

  async stop(): Promise<void> {
    await this.forGates.drop();
    const server = this.#server;
    if (server && server.exitCode === null && server.signalCode === null) {
      const exited = once(server, 'exit');
      server.kill('SIGINT');
      await exited;
    }
    rmSync(this.#layout.dataDir, { recursive: true, force: true });
  }

  #setClock(offsetMs: number): void {
    writeFileSync(this.#clockFile, `${offsetMs < 0 ? '' : '+'}${offsetMs / 1000}\n`);
    chmodSync(this.#clockFile, 0o644);
  }

  /** The processes that serve the gates; they come and go. */
  #sessions(postmaster: number): number[] {
    const children = readProc(postmaster, `task/${postmaster}/children`).trim().split(' ');
    const title = `postgres: portcullis: ${appRole} `;
    return children.map(Number).filter((pid) => readProc(pid, 'cmdline').startsWith(title));
  }

  async #launch(): Promise<void> {
    const { cluster, sockets } = this.#layout;
    const settings = {
      listen_addresses: '',
      port: String(socketPort),
      unix_socket_directories: sockets,
      cluster_name: 'portcullis',
      max_connections: '200',
      fsync: 'off',
      synchronous_commit: 'on',
      max_wal_size: '512MB',
      jit: 'off',
      log_min_messages: 'warning',
      log_min_error_statement: 'error',
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    for (const deadline = performance.now() + readyMs; ; await sleep(retryMs)) {
      await clearOrphan(cluster);
      for (const entry of readdirSync(sockets)) rmSync(join(sockets, entry), { force: true });
      const log = openSync(this.#logFile, 'a');
      const server = spawn(this.#postgres, ['-D', cluster, ...options], {
        ...this.#user,
        cwd: cluster,
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', ...this.#environment },
        stdio: ['ignore', log, log],
        detached: true,
      });
      this.#server = server;
      // The processes of a killed server take a moment to let go of its memory.
      if (await waitUntilReady(server, cluster, readyMs, new AbortController().signal)) return;
      if (performance.now() > deadline) throw new Error(`PostgreSQL did not start again:\n${this.log.slice(-2_000)}`);
    }
  }
}

/** Empty where the process is gone. */
function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
