import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { testBounds } from '../../../../test/support/database.ts';
import { systemClock } from '../../base/clock.ts';
import { createLogger } from '../../base/log.ts';
import { ControlFeed } from '../control-feed.ts';
import { migrate } from '../migrate.ts';
import { createPool } from '../pool.ts';
import { controlWrite } from '../tx.ts';
import { effectiveDataDir } from './data-dir.ts';
import { processIdentity } from './processes.ts';
import { startEmbedded, type EmbeddedOptions, type EmbeddedServer } from './start.ts';

const asRoot = process.getuid?.() === 0;
const onLinux = process.platform === 'linux';
const log = createLogger('silent');

let dir: string;
let dataDir: string;
let notices: string[];
let cleanups: (() => Promise<unknown>)[];

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'portcullis-embedded-')));
  await chmod(dir, 0o755);
  dataDir = join(dir, 'data');
  notices = [];
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
  await rm(dir, { recursive: true, force: true });
});

/** Durability is given up for speed, except where a test asks for the real thing. */
async function start(options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedServer> {
  const server = await startEmbedded({
    dataDir,
    notice: (sentence) => notices.push(sentence),
    log,
    settings: { fsync: 'off' },
    ...options,
  });
  cleanups.push(() => server.stop());
  return server;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const pool = createPool({ ...testBounds, connectionString: url });
  try {
    return (await pool.query(sql)).rows;
  } finally {
    await pool.end();
  }
}

const alive = (pid: number) => processIdentity(pid) !== undefined;
const ownerOf = async (pid: number) => (await stat(`/proc/${pid}`)).uid;

interface Child {
  readonly process: ChildProcess;
  readonly serverPid: number;
  readonly appUrl: string;
}

/** Another Node process that starts the server and holds it; SIGTERM stops it in order, SIGINT does nothing. */
async function startInChild(options: { uid?: number; atOnce?: string } = {}): Promise<Child> {
  const script = `
    import { startEmbedded } from ${JSON.stringify(new URL('start.ts', import.meta.url).href)};
    import { createLogger } from ${JSON.stringify(new URL('../../base/log.ts', import.meta.url).href)};
    process.on('SIGINT', () => undefined);
    ${options.atOnce ?? ''}
    const server = await startEmbedded({
      dataDir: ${JSON.stringify(dataDir)}, notice: () => undefined, log: createLogger('silent'), settings: { fsync: 'off' },
    });
    process.on('SIGTERM', () => server.stop().then(() => process.exit(0)));
    process.on('SIGUSR2', () => process.exit(3));
    console.log(JSON.stringify({ serverPid: server.pid, appUrl: server.appUrl }));
  `;
  const { uid } = options;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    cwd: dir,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  cleanups.push(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const line = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([text]) => String(text)),
    once(child, 'close').then(() => undefined),
  ]);
  if (line === undefined) throw new Error(errors);
  return { process: child, ...(JSON.parse(line) as { serverPid: number; appUrl: string }) };
}

async function endChild(child: Child, signal: NodeJS.Signals): Promise<void> {
  const closed = once(child.process, 'close');
  child.process.kill(signal);
  await closed;
}

test('what the first start stored is there at the second, with the same passwords', async () => {
  const first = await start({ settings: {} });
  await migrate(first.ownerUrl, { appRole: 'portcullis' });
  await query(first.appUrl, `INSERT INTO projects (id, name, control_version) VALUES ('prj_1', 'kept', 1)`);
  expect(alive(first.pid!)).toBe(true);
  await first.stop();
  expect(alive(first.pid!)).toBe(false);

  const second = await start({ settings: {} });
  expect(await query(second.appUrl, 'SELECT name FROM projects')).toEqual([{ name: 'kept' }]);
  expect(second.appUrl).toBe(first.appUrl);
  expect(notices).toEqual([]);
});

test('the server is durable, asks for a password, keeps UTC and UTF-8, and listens on its socket alone', async () => {
  const server = await start({ settings: {} });
  const [settings] = await query(
    server.ownerUrl,
    `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit, current_setting('TimeZone') AS zone,
            current_setting('server_encoding') AS encoding, current_setting('listen_addresses') AS addresses,
            current_setting('data_checksums') AS checksums,
            (SELECT count(*)::int FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256') AS weak`,
  );
  expect(settings).toEqual({
    fsync: 'on',
    commit: 'on',
    zone: 'UTC',
    encoding: 'UTF8',
    addresses: '',
    checksums: 'on',
    weak: 0,
  });
  const wrong = new URL(server.appUrl);
  wrong.password = 'guess';
  await expect(query(wrong.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  const [role] = await query(
    server.appUrl,
    'SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user',
  );
  expect(role).toEqual({ rolsuper: false, rolcreatedb: false, rolcreaterole: false });
});

test('passwords and logs are readable by their owner alone, and no other copy of a password stays', async () => {
  const server = await start();
  const home = join(server.dataDir, 'pg');
  for (const file of ['owner.password', 'app.password', 'postgres.log']) {
    expect((await stat(join(home, file))).mode & 0o777).toBe(0o600);
  }
  for (const folder of ['data', 'run']) expect((await stat(join(home, folder))).mode & 0o777).toBe(0o700);
  expect((await stat(home)).mode & 0o044).toBe(0);
  expect((await readdir(join(home, 'run'))).sort()).toEqual(['.s.PGSQL.5432', '.s.PGSQL.5432.lock']);
  await expect(query(server.appUrl, 'SELECT * FROM no_such_secret')).rejects.toThrow(/does not exist/);
  expect(await readFile(join(home, 'postgres.log'), 'utf8')).not.toMatch(/STATEMENT/);
});

test.runIf(onLinux)('PostgreSQL learns nothing of our environment', async () => {
  process.env['PORTCULLIS_TEST_SECRET'] = 'do-not-leak';
  const server = await start();
  delete process.env['PORTCULLIS_TEST_SECRET'];
  const environment = (await readFile(`/proc/${server.pid}/environ`, 'utf8'))
    .split('\0')
    .filter((entry) => entry !== '');
  expect(environment).toEqual(['PATH=/usr/bin:/bin', 'LC_ALL=C', 'TZ=UTC']);
});

test('a second instance on the same data is refused, in this process and in another, and harms nothing', async () => {
  const server = await start();
  await expect(start()).rejects.toThrow(`The data in ${dataDir} is in use by process ${process.pid}`);
  await expect(startInChild()).rejects.toThrow(`is in use by process ${process.pid}`);
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('of several that start at once on new data, one wins and the others are refused', async () => {
  const results = await Promise.allSettled(Array.from({ length: 4 }, () => start()));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('a killed PostgreSQL is started again, and pool and control feed recover by themselves', async () => {
  const server = await start();
  await migrate(server.ownerUrl, { appRole: 'portcullis' });
  const connection = { ...testBounds, connectionString: server.appUrl };
  const pool = createPool(connection);
  cleanups.push(() => pool.end());
  const feed = new ControlFeed({ connection, parts: [], clock: systemClock, log });
  cleanups.push(() => feed.stop());
  await feed.start();
  await pool.query('SELECT 1');

  const { pid } = server;
  const answers = () =>
    pool.query('SELECT 1').then(
      () => true,
      () => false,
    );
  for (const signal of ['SIGKILL', 'SIGQUIT'] as const) {
    const before = server.pid!;
    process.kill(before, signal);
    // The sessions of a killed postmaster answer for a moment longer.
    await expect.poll(() => server.pid, { timeout: 20_000 }).not.toBe(before);
    await expect.poll(answers, { timeout: 20_000 }).toBe(true);
    const { version } = await controlWrite(pool, async () => undefined);
    await expect.poll(() => feed.version, { timeout: 20_000 }).toBe(version);
  }
  expect(alive(pid!)).toBe(false);
});

test('a server that outlived its killed owner is stopped, and the next start has its data', async () => {
  const child = await startInChild();
  await query(child.appUrl, 'SELECT 1');
  await endChild(child, 'SIGKILL');
  expect(alive(child.serverPid)).toBe(true);
  const server = await start();
  expect(alive(child.serverPid)).toBe(false);
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('when owner and server were both killed the next start recovers', async () => {
  const child = await startInChild();
  await endChild(child, 'SIGKILL');
  process.kill(child.serverPid, 'SIGKILL');
  const server = await start();
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('an owner that exits without a stop takes its server along', async () => {
  const child = await startInChild();
  await endChild(child, 'SIGUSR2');
  await expect.poll(() => alive(child.serverPid), { timeout: 10_000 }).toBe(false);
});

test('the Ctrl-C of a terminal does not reach PostgreSQL', async () => {
  const child = await startInChild();
  process.kill(-child.process.pid!, 'SIGINT');
  expect(await query(child.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  await endChild(child, 'SIGTERM');
  expect(alive(child.serverPid)).toBe(false);
});

test('an interrupted initdb leaves nothing that the next start would take for a cluster', async () => {
  const killWhenBegun = `
    import { readdirSync } from 'node:fs';
    setInterval(() => {
      try {
        const names = readdirSync(${JSON.stringify(join(dataDir, 'pg'))});
        if (names.some((name) => name.startsWith('data.unfinished'))) process.kill(process.pid, 'SIGKILL');
      } catch {}
    }, 1);
  `;
  await expect(startInChild({ atOnce: killWhenBegun })).rejects.toBeInstanceOf(Error);
  expect((await readdir(join(dataDir, 'pg'))).filter((name) => name.startsWith('data.unfinished'))).toHaveLength(1);
  const server = await start();
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a postmaster.pid whose number belongs to another program by now does not stop a start', async () => {
  const first = await start();
  await first.stop();
  const file = join(dataDir, 'pg/data/postmaster.pid');
  await writeFile(file, `${process.pid}\n${join(dataDir, 'pg/data')}\n1\n5432\n\n\n\nready\n`);
  const server = await start();
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a server whose process cannot be seen, in another container, is noticed by its socket', async () => {
  const first = await start();
  await first.stop();
  const other = createServer();
  other.listen(join(dataDir, 'pg/run/.s.PGSQL.5432'));
  await once(other, 'listening');
  await expect(start()).rejects.toThrow(/in use from another container/);
  other.close();
  await once(other, 'close');
  await start();
});

test('a path too long for a socket moves the server to a port of the loopback', async () => {
  dataDir = join(dir, 'd'.repeat(100));
  const server = await start();
  expect(new URL(server.appUrl).hostname).toBe('127.0.0.1');
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(await query(server.ownerUrl, `SELECT current_setting('listen_addresses') AS a`)).toEqual([{ a: '127.0.0.1' }]);
});

test('a path with spaces, commas, quotes and other letters works', async () => {
  dataDir = join(dir, `a b, "c" 'd' é`);
  const server = await start();
  expect(await query(server.appUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a lost password is said, not replaced', async () => {
  const first = await start();
  await first.stop();
  await rm(join(dataDir, 'pg/owner.password'));
  await expect(start()).rejects.toThrow(/owner.password is missing/);
});

test('what PostgreSQL says when it will not start is in the error', async () => {
  await expect(start({ settings: { shared_buffers: 'plenty' } })).rejects.toThrow(/did not start.*shared_buffers/s);
  await start();
});

test.runIf(asRoot && onLinux)('root runs PostgreSQL as nobody', async () => {
  const server = await start();
  const nobody = (await readFile('/etc/passwd', 'utf8')).match(/^nobody:[^:]*:(\d+):/m)?.[1];
  expect(await ownerOf(server.pid!)).toBe(Number(nobody));
  expect((await stat(join(dataDir, 'pg/data'))).uid).toBe(Number(nobody));
  expect((await stat(join(dataDir, 'pg/owner.password'))).uid).toBe(0);
});

test.runIf(asRoot && onLinux)(
  'an ordinary user starts it, root does so in between as that user, and it stays theirs',
  async () => {
    const uid = 1;
    await mkdir(dataDir);
    await chown(dataDir, uid, uid);
    const first = await startInChild({ uid });
    expect(await ownerOf(first.serverPid)).toBe(uid);
    expect((await stat(join(dataDir, 'pg'))).mode & 0o777).toBe(0o700);
    await endChild(first, 'SIGTERM');

    const server = await start();
    expect(await ownerOf(server.pid!)).toBe(uid);
    await server.stop();

    const last = await startInChild({ uid });
    await endChild(last, 'SIGTERM');
  },
);

test.runIf(asRoot && onLinux)(
  'under a private home root puts the data elsewhere, says so, and finds it there again',
  async () => {
    const home = join(dir, 'home');
    await mkdir(home, { mode: 0o700 });
    dataDir = join(home, 'work/data');
    const fallbackDir = join(dir, 'system');
    const server = await start({ fallbackDir });
    expect(server.dataDir).toBe(fallbackDir);
    expect(notices).toEqual([expect.stringContaining(`The data is in ${fallbackDir}`)]);
    expect(await readdir(home)).toEqual([]);
    await server.stop();
    expect(effectiveDataDir(dataDir, fallbackDir)).toBe(fallbackDir);
    await start({ fallbackDir });
  },
);

test.runIf(asRoot && onLinux)(
  'a private DATA_DIR itself is opened just enough, so the answer stays the same',
  async () => {
    await mkdir(dataDir, { mode: 0o700 });
    const server = await start();
    expect(server.dataDir).toBe(dataDir);
    expect((await stat(dataDir)).mode & 0o777).toBe(0o711);
    expect(effectiveDataDir(dataDir)).toBe(dataDir);
  },
);

test.runIf(asRoot && onLinux)('a folder that is not ours to write is refused with a sentence', async () => {
  await mkdir(dataDir);
  await expect(startInChild({ uid: 1 })).rejects.toThrow(/is not ours to write: choose another DATA_DIR/);
});
