import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Authority } from '../../../test/support/certificates.ts';
import { tlsFilesAgainMs } from '../base/limits.ts';
import { WatchedTlsFiles } from './tls-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-tls-files-'));
const authority = new Authority('Agents');
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

function put(name: string, content: string) {
  const path = join(folder, name);
  writeFileSync(path, content);
  return { option: name, path };
}

it('files whose certificate is not in force yet are taken when it is, without another change', () => {
  const putServer = ({ cert, key }: { cert: string; key: string }) => ({
    certificate: put('certificate', cert),
    key: put('key', key),
  });
  const server = putServer(authority.server());
  const files = { server, bundle: put('bundle', authority.cert), checkAuthority: () => undefined };
  const heard: unknown[] = [];
  const watched = new WatchedTlsFiles({
    files,
    clock: { now: () => Date.now(), monotonic: () => Date.now() },
    use: () => heard.push('taken'),
    refuse: (error) => heard.push(String(error)),
  });
  const stop = watched.start();
  putServer(authority.server({ fromS: 100, toS: 1_000 }));
  process.emit('SIGHUP');
  expect([heard, watched.status]).toEqual([[expect.stringContaining('is in force from')], 'outdated']);
  vi.advanceTimersByTime(2 * tlsFilesAgainMs);
  expect([heard.at(-1), watched.status]).toEqual(['taken', 'ok']);
  stop();
});
