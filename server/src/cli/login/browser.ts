import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { CliContext } from '../context.ts';

const openers: Readonly<Record<string, string>> = { darwin: 'open', linux: 'xdg-open' };

/** Opens a page in the person's browser, where there is one and a person; else nothing happens. */
export function openBrowser({ environment, stdout }: CliContext, url: string): void {
  const opener = openers[process.platform];
  const isHere = environment['DISPLAY'] || environment['WAYLAND_DISPLAY'] || process.platform === 'darwin';
  if (stdout.isTTY !== true || !opener || !isHere || !/^https?:\/\//.test(url)) return;
  const path = (environment['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, opener))
    .find(isExecutable);
  if (path === undefined) return;
  spawn(path, [url], { stdio: 'ignore', detached: true })
    .once('error', () => undefined)
    .unref();
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
