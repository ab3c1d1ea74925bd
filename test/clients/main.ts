/**
 * `npm run e2e:clients`: Claude Code, Codex and OpenCode, as they come from npm, read and write a file with their own
 * tools through a gate, told by the simulated model: in their own dialect, and translated to each other one. Each runs
 * with an environment of its own, an empty home and a proxy that leads nowhere, under `portcullis run`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { type ClientsGate, startClientsGate } from './gate.ts';
import { clientsFolder, installClients, versionOf } from './packages.ts';
import { type Client, clients, copied, promptOf } from './tools.ts';

const portcullis = resolve(import.meta.dirname, '../../server/src/main.ts');
const caseMs = 120_000;

interface Summary {
  readonly run: { readonly state: string };
  readonly command: { readonly exitCode: number } | null;
  readonly totals: { readonly attempts: string; readonly refusedAttempts: string };
  readonly models: readonly { readonly key: string }[];
}

/** @returns what is wrong; nothing when all is as it must be */
async function tryClient(gate: ClientsGate, client: Client, model: string): Promise<string[]> {
  const folder = join(gate.folder, `${client.name}-${model}`);
  const work = join(folder, 'work');
  for (const path of [work, join(folder, 'home')]) mkdirSync(path, { recursive: true });
  writeFileSync(join(work, 'in.txt'), copied);
  const summaryFile = join(folder, 'summary.json');
  const own = ['--agent', 'first-agent', '--model', model, '--summary', summaryFile];
  const child = spawn(process.execPath, [portcullis, 'run', ...own, '--', client.name, ...client.args], {
    cwd: work,
    timeout: caseMs,
    env: {
      PATH: [join(clientsFolder, 'node_modules', client.bin), dirname(process.execPath), '/usr/bin', '/bin'].join(':'),
      HOME: join(folder, 'home'),
      DATA_DIR: gate.dataDir,
      // Whoever asks anything but the gate fails at once.
      HTTP_PROXY: 'http://127.0.0.1:9',
      HTTPS_PROXY: 'http://127.0.0.1:9',
      ...client.environment,
    },
  });
  child.stdin.on('error', () => undefined).end(promptOf(client, work));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  const output = `${stdout}\n${stderr}`;
  const summary = read(summaryFile) === null ? null : (JSON.parse(read(summaryFile) ?? '') as Summary);
  const wrong = [
    ...(summary?.command?.exitCode === 0 && child.exitCode === 0 ? [] : [`it exited with ${child.exitCode}`]),
    ...(read(join(work, 'out.txt')) === copied ? [] : ['it did not write out.txt']),
    ...(output.includes('[simulated] Copied.') ? [] : ['it did not show the last answer']),
    ...(summary?.run.state === 'RUN_STATE_SUCCEEDED' ? [] : ['its run did not succeed']),
    ...(Number(summary?.totals.attempts) >= 3 ? [] : [`the ledger has ${summary?.totals.attempts} calls of its run`]),
    ...(summary?.totals.refusedAttempts === '0' ? [] : [`the gate refused ${summary?.totals.refusedAttempts} calls`]),
    ...(summary?.models.every(({ key }) => key === model) ? [] : ['it asked for other models']),
  ];
  return wrong.length === 0 ? [] : [...wrong, `it said:\n${output.trim()}`];
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

async function main(): Promise<number> {
  try {
    installClients();
  } catch (error) {
    return skip(`the clients cannot be installed here: ${error instanceof Error ? error.message : String(error)}`);
  }
  const gate = await startClientsGate();
  let failed = 0;
  try {
    for (const client of clients) {
      const version = versionOf(client.package);
      if (version === null) failed += skip(`${client.name}: no package of it is pinned for this platform`);
      else for (const model of client.models) failed += await report(gate, client, version, model);
    }
  } finally {
    await gate.stop();
  }
  return failed;
}

/** @returns 1 when it failed */
async function report(gate: ClientsGate, client: Client, version: string, model: string): Promise<number> {
  const began = performance.now();
  const wrong = await tryClient(gate, client, model);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const outcome = wrong.length === 0 ? 'ok  ' : 'FAIL';
  console.log(`${outcome}  ${`${client.name} ${version}`.padEnd(20)} ${model.padEnd(16)} ${seconds} s`);
  for (const sentence of wrong) console.log(`      ${sentence.replaceAll('\n', '\n      ')}`);
  return Math.min(wrong.length, 1);
}

/** Where everything must be there, what is missing is a failure. @returns 1 when it is */
function skip(why: string): number {
  console.log(`skipped: ${why}`);
  return process.env['REQUIRE_ALL'] === '1' ? 1 : 0;
}

process.exitCode = (await main()) === 0 ? 0 : 1;
