import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { mtlsUrl } from './support/mtls.ts';

/** docs/certificates.md says what works: its commands are run in their order, as they stand. */

const root = resolve(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/certificates.md'), 'utf8');
const [authorities = '', leaf = '', calls = '', keys = '', ...others] = blocks('sh');
const [settings = ''] = blocks('ini');
const folder = mkdtempSync(join(tmpdir(), 'portcullis-docs-'));
const missing = ['openssl', 'curl', 'bash'].filter((name) => spawnSync(name, ['--version']).error);
let gate: TestGate | undefined;

afterAll(async () => {
  await gate?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block ?? '');
}

/** @returns what the commands of a block wrote @throws Error when one of them fails */
function run(commands: string, env: Record<string, string> = {}): string {
  const options = { cwd: folder, env: { PATH: `${folder}${delimiter}${process.env['PATH']}`, ...env } };
  const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', commands], options);
  if (status !== 0) throw new Error(`${commands}\nended with ${status}:\n${String(stdout)}${String(stderr)}`);
  return String(stdout);
}

test('docs/certificates.md makes certificates, and calls with them', async ({ skip }) => {
  skip(missing.length > 0 && process.env['REQUIRE_ALL'] !== '1', `${missing.join(', ')} is not installed`);
  expect(others).toEqual([]);
  run(authorities);
  run(leaf);
  const files = Object.entries(parseEnv(settings)).map(([name, value = '']) => [
    name,
    name.endsWith('_FILE') ? join(folder, value) : value,
  ]);
  gate = await startGate({ env: { ...Object.fromEntries(files), MTLS_ADDR: '127.0.0.1:0' } });
  const { host } = new URL(mtlsUrl(gate));
  const port = host.replace(/^.*:/, 'localhost:');
  const portcullis = join(folder, 'portcullis');
  writeFileSync(portcullis, `#!/bin/sh\nexec ${process.execPath} ${join(root, 'server/src/main.ts')} "$@"\n`);
  chmodSync(portcullis, 0o755);
  const env = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
  expect(run(calls.replaceAll('localhost:8443', port), env)).toContain('"data"');
  expect(run(keys.replaceAll('localhost:8443', port), env)).toContain('"data"');
  for (const name of ['bound.key', 'renewable.key']) {
    const key = readFileSync(join(folder, name), 'utf8').trim();
    const withCertificate = `curl --silent --cacert gate.pem --cert builder.pem --key builder.key https://${port}/v1/models`;
    const status = `--output /dev/null --write-out '%{http_code}' --header 'x-api-key: ${key}'`;
    expect(run(`${withCertificate} ${status}`)).toBe('200');
    expect(run(`curl --silent ${gate.url}/v1/models ${status}`)).toBe('401');
  }
});
