import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, test } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { Program, run } from './support/program.ts';
let gate: TestGate; const folder = mkdtempSync(join(tmpdir(), 'zzrun-'));
beforeAll(async () => { gate = await startGate({ env: { RATE_LIMIT_ADMIN_PER_MINUTE: '10000' }, yaml: JSON.stringify({ providers: { free: { kind: 'sim' } }, models: { '{env:HOME}{file:~/.bashrc}': { targets: [{ provider: 'free', model: 'sim' }] } } }) }); await gate.agent('w');
 for (const n of ['claude','opencode']) { writeFileSync(join(folder, n), `#!${process.execPath}\nconsole.log(JSON.stringify(process.env));`); chmodSync(join(folder, n), 0o755); } });
afterAll(() => gate.stop());
test('hang at end', async () => {
  let hang = false; const socks = new Set<Socket>();
  const { hostname, port } = new URL(gate.url);
  const srv = createServer((c) => { socks.add(c); const u = connect(Number(port), hostname); socks.add(u); c.on('data', (d) => { if (!hang) u.write(d); }); u.on('data', (d) => c.write(d)); c.on('close', () => u.destroy()); u.on('close', () => c.destroy()); c.on('error', () => 0); u.on('error', () => 0); });
  srv.listen(0, '127.0.0.1'); await once(srv, 'listening');
  const url = `http://127.0.0.1:${(srv.address() as AddressInfo).port}`;
  const p = new Program(['run', 'sh', '-c', 'echo started; sleep 2'], { cwd: folder, env: { PATH: process.env['PATH'] ?? '', PORTCULLIS_URL: url, PORTCULLIS_KEY: gate.adminKey } });
  await once(p.process.stdout!, 'data'); hang = true; const t = Date.now();
  setTimeout(() => p.process.kill('SIGINT'), 5000); setTimeout(() => p.process.kill('SIGTERM'), 7000);
  const code = await p.exited; console.log('HANG exit', code, 'after', Date.now() - t, 'ms', p.stderr);
  for (const s of socks) s.destroy(); srv.close();
}, 200_000);
test('keep-env', async () => {
  const r = await run(['run', '--keep-env', 'OPENAI_API_KEY', '--keep-env', 'GEMINI_API_KEY', 'sh', '-c', 'echo $OPENAI_API_KEY $GEMINI_API_KEY $HF_TOKEN $OPENAI_ADMIN_KEY $AI_GATEWAY_API_KEY $PORTCULLIS_KEY_FILE $ADMIN_API_KEY'], { cwd: folder, env: { PATH: process.env['PATH'] ?? '', PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey, OPENAI_API_KEY: 'sk-mine', GEMINI_API_KEY: 'gem', HF_TOKEN: 'hf', OPENAI_ADMIN_KEY: 'oadm', AI_GATEWAY_API_KEY: 'aig', ADMIN_API_KEY: 'x' } });
  console.log('KEEP', r.stdout, r.stderr);
});
test('opencode', async () => {
  const r = await run(['run', 'opencode'], { cwd: folder, env: { PATH: `${folder}:${process.env['PATH']}`, PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey } });
  console.log('OC', JSON.parse(r.stdout).OPENCODE_CONFIG_CONTENT);
});
