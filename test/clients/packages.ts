import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the clients are installed. */
export const clientsFolder = import.meta.dirname;

/**
 * Installs the pinned clients beside this file, unless they are there.
 * @throws Error with npm's last words when they cannot be installed
 */
export function installClients(): void {
  if (isInstalled()) return;
  const { status, stderr, error } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: clientsFolder,
    encoding: 'utf8',
    timeout: 15 * 60_000,
  });
  if (status === 0) return;
  const words = stderr.split('\n').filter((line) => /^npm error \S/.test(line));
  throw new Error(error?.message ?? words.slice(0, 3).join(' ').replaceAll('npm error ', ''));
}

function isInstalled(): boolean {
  const { dependencies } = manifest('package.json') as { dependencies: Record<string, string> };
  return Object.entries(dependencies).every(([name, version]) => versionOf(name) === version);
}

/** The installed version of a package; null where it is not for this platform. */
export function versionOf(name: string): string | null {
  try {
    return (manifest(join('node_modules', name, 'package.json')) as { version: string }).version;
  } catch {
    return null;
  }
}

function manifest(path: string): unknown {
  return JSON.parse(readFileSync(join(clientsFolder, path), 'utf8'));
}
