import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { escapeIdentifier, escapeLiteral } from 'pg';
import { createClient } from '../pool.ts';
import type { Binaries } from './binaries.ts';
import type { Layout } from './data-dir.ts';
import { handTo, type ServerUser } from './unprivileged.ts';

/** Owns the schema and is the superuser of the embedded cluster. */
export const ownerRole = 'portcullis_owner';
/** What the application logs in as. */
export const appRole = 'portcullis';
export const databaseName = 'portcullis';

const unfinishedPrefix = 'data.unfinished-';

export interface Passwords {
  readonly owner: string;
  readonly app: string;
}

/** All that PostgreSQL's programs learn of our environment. */
export const cleanEnvironment = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** Makes the folder that the server's user works in; it alone may enter. */
export async function makeServerFolder(path: string, user: ServerUser | undefined): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o700);
  await handTo(path, user);
}

/**
 * Makes the cluster unless it is there, and reads its passwords. initdb works beside the final place and one rename ends
 * it, so that a cluster is whole or absent: what an interruption leaves is made anew.
 */
export async function ensureCluster(
  layout: Layout,
  binaries: Binaries,
  user: ServerUser | undefined,
  sync: boolean,
): Promise<Passwords> {
  const exists = existsSync(layout.cluster);
  const passwords = {
    owner: await readPassword(layout.ownerPasswordFile, !exists),
    app: await readPassword(layout.appPasswordFile, true),
  };
  if (!exists) await makeCluster(layout, binaries, user, sync, passwords.owner);
  return passwords;
}

async function makeCluster(
  layout: Layout,
  binaries: Binaries,
  user: ServerUser | undefined,
  sync: boolean,
  ownerPassword: string,
): Promise<void> {
  await removeUnfinished(layout.home);
  // A name of its own: the initdb of a process that was killed may still be at work in an older one.
  const unfinished = await mkdtemp(join(layout.home, unfinishedPrefix));
  await makeServerFolder(unfinished, user);
  const passwordFile = join(layout.sockets, 'initdb.password');
  try {
    await writeFile(passwordFile, `${ownerPassword}\n`, { mode: 0o600 });
    await handTo(passwordFile, user);
    await runInitdb(binaries, unfinished, passwordFile, user, sync);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(unfinished, layout.cluster);
  await syncFolder(layout.home);
}

/** What is in use still can stay until the next time. */
async function removeUnfinished(home: string): Promise<void> {
  for (const entry of await readdir(home)) {
    if (!entry.startsWith(unfinishedPrefix)) continue;
    await rm(join(home, entry), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Makes the application's role and the database; the role's password is always what the file says. */
export async function ensureRoleAndDatabase(ownerUrl: string, passwords: Passwords): Promise<void> {
  const client = createClient({
    connectionString: ownerUrl,
    statementMs: 30_000,
    lockMs: 5_000,
    connectMs: 5_000,
    applicationName: 'portcullis setup',
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const role = escapeIdentifier(appRole);
    const roles = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [appRole]);
    const verb = roles.rowCount === 0 ? 'CREATE' : 'ALTER';
    await client.query(`${verb} ROLE ${role} LOGIN PASSWORD ${escapeLiteral(passwords.app)}`);
    const databases = await client.query('SELECT FROM pg_database WHERE datname = $1', [databaseName]);
    if (databases.rowCount === 0) await client.query(`CREATE DATABASE ${escapeIdentifier(databaseName)}`);
  } finally {
    await client.end();
  }
}

async function readPassword(path: string, mayMake: boolean): Promise<string> {
  if (existsSync(path)) return (await readFile(path, 'utf8')).trim();
  if (!mayMake) throw new Error(`${path} is missing: put it back, since the database knows only that password.`);
  const password = randomBytes(24).toString('base64url');
  await writeFile(path, `${password}\n`, { flag: 'wx', mode: 0o600, flush: true });
  return password;
}

async function runInitdb(
  binaries: Binaries,
  folder: string,
  passwordFile: string,
  user: ServerUser | undefined,
  sync: boolean,
): Promise<void> {
  const options = [`--pgdata=${folder}`, `--username=${ownerRole}`, `--pwfile=${passwordFile}`];
  const fixed = ['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-instructions'];
  const child = spawn(binaries.initdb, [...options, ...fixed, ...(sync ? [] : ['--no-sync'])], {
    ...user,
    cwd: folder,
    env: cleanEnvironment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new Error(`initdb cannot be run here: ${cause.message}`, { cause })));
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`initdb could not make the database in ${folder}: ${output.trim().slice(-500)}`);
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
