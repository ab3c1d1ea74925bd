import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import * as bounds from '../server/src/base/webhook-limits.ts';
import { startGate, type TestGate } from './support/gate.ts';

/** docs/webhooks.md says what works: its receiver receives, and its commands are run in their order, at a URL of ours. */

const root = resolve(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/webhooks.md'), 'utf8');
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block = '']) => block);
const folder = mkdtempSync(join(tmpdir(), 'portcullis-docs-'));
let gate: TestGate | undefined;
let receiver: ChildProcess | undefined;

afterAll(async () => {
  receiver?.kill();
  await gate?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

test('docs/webhooks.md has an endpoint registered, verified, told and removed', async ({ skip }) => {
  const lacks = ['bash', 'jq'].find((program) => spawnSync(program, ['--version']).error !== undefined);
  skip(lacks !== undefined && process.env['REQUIRE_ALL'] !== '1', `no ${lacks}`);
  const port = await freePort();
  gate = await startGate({ env: { EGRESS_ALLOW_PRIVATE: `127.0.0.1:${port}` } });
  const portcullis = join(folder, 'portcullis');
  writeFileSync(portcullis, `#!/bin/sh\nexec ${process.execPath} ${join(root, 'server/src/main.ts')} "$@"\n`);
  chmodSync(portcullis, 0o755);
  const environment = {
    PATH: `${folder}${delimiter}${process.env['PATH']}`,
    PORTCULLIS_URL: gate.url,
    PORTCULLIS_KEY: gate.adminKey,
  };
  const run = (script: string) => {
    const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], { env: environment });
    expect(status, `${String(stdout)}${String(stderr)}`).toBe(0);
    return String(stdout);
  };
  const [register = '', ...later] = blocks('sh');
  const url = `http://127.0.0.1:${port}/portcullis`;
  const secret = run(`${register.replace('https://hooks.example.com/portcullis', url)}\necho "$WEBHOOK_SECRET"`).trim();
  expect(secret).toMatch(/^whsec_/);

  const [source = ''] = blocks('ts');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'receiver.ts'), source);
  let told = '';
  receiver = spawn(process.execPath, [join(folder, 'receiver.ts')], {
    env: { ...environment, PORT: String(port), WEBHOOK_SECRET: secret },
  });
  receiver.stdout?.on('data', (chunk: Buffer) => (told += chunk.toString()));
  receiver.stderr?.on('data', (chunk: Buffer) => (told += chunk.toString()));
  const state = async () => {
    const { endpoints } = await gate!.api<{ endpoints: { state: string; challenge?: { error: string } }[] }>(
      'WebhookService/ListWebhookEndpoints',
    );
    expect(endpoints[0], told).toMatchObject({ state: 'WEBHOOK_ENDPOINT_STATE_ACTIVE' });
  };
  await vi.waitFor(state, { timeout: 60_000, interval: 200 });

  const shown = run(later.join('\n'));
  for (const line of [/state +active/, /webhook\.test +(pending|delivered)/, /is removed\./])
    expect(shown).toMatch(line);
  await vi.waitFor(() => expect(told).toMatch(/webhook\.test.*"A test: nothing happened\."/), { timeout: 20_000 });
  expect(told).toMatch(/run\.failed.*"run_id"/);
  const forged = await fetch(url, {
    method: 'POST',
    headers: {
      'webhook-id': 'msg_1',
      'webhook-timestamp': `${Math.floor(Date.now() / 1000)}`,
      'webhook-signature': 'v1,AAAA',
    },
    body: '{"type":"run.failed","data":{}}',
  });
  expect(forged.status).toBe(401);
}, 500_000);

test('docs/webhooks.md names the bounds that there are', () => {
  const hours = bounds.deliveryRetryMs.filter((ms) => ms >= 3_600_000).map((ms) => ms / 3_600_000);
  for (const said of [
    `has ${bounds.endpointsPerProjectMax} endpoints at most`,
    `longer than ${bounds.deliveryTimeoutMs / 1000} seconds`,
    `5 seconds, 5 minutes, 30 minutes, ${hours.slice(0, -1).join(', ')} and ${hours.at(-1)} hours later`,
    `After ${bounds.deliveryRetryMs.length === 9 ? 'ten' : '?'} attempts`,
    `For ${bounds.secretOverlapMs / 3_600_000} hours each message`,
    `for ${bounds.webhookKeptMs / 86_400_000} days`,
    `everything for ${bounds.endpointFailingMsMax === 5 * 86_400_000 ? 'five' : '?'} days`,
  ])
    expect(page).toContain(said);
  expect(bounds.challengeRetryMs).toEqual([5_000, 30_000, 120_000, 600_000, 3_600_000]);
});
