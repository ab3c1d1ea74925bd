import { spawnSync } from 'node:child_process';
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { embeddedLogBytesMax } from '../../base/limits.ts';
import { findPackage, locateBinaries } from './binaries.ts';
import { cleanEnvironment } from './cluster.ts';
import { openLog, rotateLog } from './log-file.ts';
import { serverUser } from './unprivileged.ts';

let dir: string;
let packageDir: string;
let home: string;
let notices: string[];

beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'portcullis-binaries-')));
  await chmod(dir, 0o755);
  // As an install with --ignore-scripts leaves it: whole, but without the links.
  packageDir = join(dir, 'private/package');
  await mkdir(dirname(packageDir), { recursive: true });
  await cp(findPackage(), packageDir, {
    recursive: true,
    filter: async (path) => !(await lstat(path)).isSymbolicLink(),
  });
});
afterAll(() => rm(dir, { recursive: true, force: true }));
beforeEach(async () => {
  home = await mkdtemp(join(dir, 'home-'));
  await chmod(home, 0o711);
  notices = [];
});

const user = serverUser('/nonexistent');
const locate = (from: string) => locateBinaries(from, home, user, (sentence) => notices.push(sentence));

function versionOf(program: string): string {
  return spawnSync(program, ['--version'], { ...user, env: cleanEnvironment, encoding: 'utf8' }).stdout;
}

test('a complete package that can be reached is used where it is', async () => {
  const { postgres } = await locate(findPackage());
  expect(postgres).toBe(join(findPackage(), 'native/bin/postgres'));
  expect(notices).toEqual([]);
});

test('a package without its links is copied once, with them, and runs', async () => {
  const { postgres, initdb } = await locate(packageDir);
  expect(dirname(dirname(dirname(dirname(postgres))))).toBe(home);
  expect([versionOf(postgres), versionOf(initdb)]).toEqual([
    expect.stringContaining('PostgreSQL'),
    expect.stringContaining('PostgreSQL'),
  ]);
  expect(notices).toEqual([expect.stringContaining('once')]);
  await locate(packageDir);
  expect(notices).toHaveLength(1);
});

test('a copy is made anew for another version of the package, and after an interruption', async () => {
  const [old = ''] = await locate(packageDir).then(() => readdir(home));
  await mkdir(join(home, `${old}0.unfinished`));
  const manifest = join(packageDir, 'package.json');
  const text = await readFile(manifest, 'utf8');
  await writeFile(manifest, text.replace(/"version": "/, '"version": "9'));
  await locate(packageDir);
  await writeFile(manifest, text);
  const now = await readdir(home);
  expect(now).toHaveLength(1);
  expect(now).not.toContain(old);
});

test.runIf(user)(
  'a package under a private folder, installed under a strict umask, is copied for the server',
  async () => {
    await chmod(dirname(packageDir), 0o700);
    await chmod(join(packageDir, 'native/bin/postgres'), 0o700);
    const { postgres } = await locate(packageDir);
    expect(versionOf(postgres)).toContain('PostgreSQL');
  },
);

test('the log is cut when it is full, keeps one older part, and goes on in the same file', async () => {
  const path = join(home, 'postgres.log');
  const log = await openLog(path, undefined);
  await log.write(Buffer.alloc(embeddedLogBytesMax, 'x'));
  await rotateLog(path);
  await log.write('after');
  expect(await readFile(path, 'utf8')).toBe('after');
  expect((await stat(`${path}.1`)).size).toBe(embeddedLogBytesMax);
  await log.close();
});
