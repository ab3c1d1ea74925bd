import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliRun, runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { githubHeaders, post, secrets } from './support/webhook-sender.ts';

/** `portcullis webhook-events`, as an operator runs it. */

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate({
    yaml: `
webhooks:
  sources:
    github: { scheme: github, secrets: ["${secrets.github}"], run: /run }
    shotstack: { scheme: shotstack, api_key: a key of theirs }
`,
    env: { PUBLIC_URL: 'http://localhost' },
  });
});
afterAll(() => gate?.stop());

function run(...args: string[]): Promise<CliRun> {
  const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
  return runCommand(['webhook-events', ...args], { environment, cwd: gate.folder });
}

test('events are listed, read and replayed, and what was refused is counted', async () => {
  const ids: string[] = [];
  for (const n of [1, 2]) {
    const body = JSON.stringify({ run: 'run_none', n });
    const { json } = await post(gate, 'github', body, githubHeaders(body));
    ids.push(json.id ?? '');
  }
  await expect
    .poll(async () => (await run('list', '--state', 'dead', '--json')).stdout, { timeout: 20_000 })
    .toContain(ids[1]);
  const listed = await run('list', '--source', 'github');
  expect(listed.stdout).toContain('There is no run "run_none" in this project.');
  const shown = await run('get', ids[0] ?? '');
  expect(shown.stdout).toContain('x-github-event');
  expect(shown.stdout).toContain('{"run":"run_none","n":1}');
  expect((await run('replay', ids[0] ?? '')).stdout).toContain(`${ids[0]} is processed again.`);
  await expect
    .poll(async () => (await run('list', '--state', 'dead', '--json')).stdout, { timeout: 20_000 })
    .toContain(ids[0]);
  expect((await run('replay', '--dead', '--source', 'github')).stdout).toContain('2 are processed again.');
  const wrong = await run('replay');
  expect(wrong.code).not.toBe(0);
  expect(wrong.stderr).toContain('Name one event, or say --dead.');
  expect((await post(gate, 'github', '{}', {})).status).toBe(401);
  await expect
    .poll(async () => (await run('refused')).stdout, { timeout: 20_000 })
    .toMatch(/github +missing +no_signature +1 /);
  const made = await run('callback', 'shotstack', '--lifetime', '1h');
  expect(made.stdout).toMatch(/^http:\/\/localhost\/v1\/webhooks\/shotstack\/[\w-]{43}\n$/);
}, 120_000);
