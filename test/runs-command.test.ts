import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { type CliRun, runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';

/** `portcullis runs`, as people and programs use it. */

let gate: TestGate;
let agentId: string;
let secret: string;

beforeAll(async () => {
  gate = await startGate();
  ({ agentId, secret } = await gate.agent('teller', { scopes: ['runs:write', 'telemetry:write'] }));
  await queryAsOwner(
    gate.database,
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
     SELECT 'pv_1', project_id, 'fix-bug', repeat('ab', 32), 'terse', 'test' FROM agents WHERE id = $1`,
    [agentId],
  );
});
afterAll(() => gate?.stop());

const run = (args: readonly string[], key: string = secret): Promise<CliRun> =>
  runCommand(['runs', ...args], { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: key } });

async function start(...more: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(['start', 'fix-bug', ...more]);
  expect(code, stderr).toBe(0);
  return stdout.trim();
}

const hostile = '<script>\u001b[2J\u202egnp\u2028';
// What a terminal would obey, or show as something else than it is.
const unsafe = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

describe('portcullis runs', () => {
  test('starts a run with all that is fixed of it, and shows how it ended', async () => {
    const id = await start('--task', 'task-7', '--prompt-version', 'terse', '--max-retries', '2');
    const finished = await run([
      'finish',
      id,
      '--outcome',
      'failed',
      '--summary',
      'gave up',
      '--error',
      `${hostile}\nat`,
    ]);
    expect(finished.code).toBe(0);
    const { stdout } = await run(['show', id]);
    expect(stdout).toBe(finished.stdout);
    for (const part of [id, 'fix-bug', 'task-7', 'ab'.repeat(32), '2 at most', 'failed', 'gave up', '\\x1b[2J'])
      expect(stdout).toContain(part);
    expect(stdout).not.toMatch(unsafe);
    expect((await run(['start', 'fix-bug', '--prompt-version', 'none'])).stderr).toContain(
      'has no prompt version "none": register it first.',
    );
    expect((await run(['start', 'fix-bug', '--max-retries', '10'])).code).toBe(2);
  });

  test('lists runs by what an index serves', async () => {
    const id = await start('--task', 'listed');
    const list = await run(['list', '--agent', 'teller', '--state', 'running', '--since', '1h'], gate.adminKey);
    expect(list.stdout).toMatch(new RegExp(`${id} +fix-bug +teller +running +listed`));
    const { stdout } = await run(['list', '--task', 'listed', '--json']);
    const answer = JSON.parse(stdout) as { runs: object[] };
    expect(answer.runs).toMatchObject([{ run: { id, taskId: 'listed', agentId }, totals: { attempts: '0' } }]);
    const refused = await run(['list', '--task', 'listed', '--state', 'failed'], gate.adminKey);
    expect(refused.stderr).toContain('Runs are not listed by state and task_id');
  });

  test('tells events, and shows them as text', async () => {
    const id = await start();
    const told = ['event', id, 'tool.call', '--level', 'warn', '--message', hostile, '--data', '{"tool":"\\u001b[2J"}'];
    expect((await run(told)).stderr).toMatch(/^Recorded as evt_/);
    await run(['event', id, 'done']);
    const { stdout } = await run(['events', id]);
    expect(stdout).toMatch(/warn +tool\.call +<script>\\x1b\[2J\\u\{202e\}gnp/);
    expect(stdout).not.toMatch(unsafe);
    const json = await run(['events', id, '--json', '--level', 'warn']);
    expect(json.stdout).not.toMatch(unsafe);
    const { events } = JSON.parse(json.stdout) as { events: object[] };
    expect(events).toMatchObject([{ type: 'tool.call', message: hostile, data: '{"tool":"\\u001b[2J"}' }]);
    expect((await run(['event', id, 'x', '--data', '[]'])).code).toBe(2);
    expect((await run(['events', 'run_none'])).stderr).toContain('There is no run "run_none" that you may see.');
  });

  test('watches a run until its end, as lines for people and documents for programs', async () => {
    const id = await start();
    await run(['event', id, 'begun', '--message', hostile]);
    const watching = [run(['watch', id]), run(['watch', id, '--json'])];
    await run(['event', id, 'going']);
    await run(['finish', id, '--summary', 'all done']);
    const [text, json] = await Promise.all(watching);
    expect(text!.code).toBe(0);
    expect(text!.stdout).toMatch(
      /running {2}fix-bug {2}run_.*\n.*info {2}begun {2}<script>\\x1b.*\n.*going\n.*succeeded {2}all done\n$/,
    );
    expect(text!.stdout).not.toMatch(unsafe);
    expect(json!.stdout).not.toMatch(unsafe);
    const messages = json!.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { position: string });
    expect(messages).toMatchObject([
      { run: { id } },
      { event: { type: 'begun', message: hostile } },
      { event: { type: 'going' } },
      { ended: { id, state: 'RUN_STATE_SUCCEEDED' } },
    ]);
  });

  test('goes on watching at the gate that takes the place of the one that stopped', async () => {
    const own = await startGate({ database: gate.database });
    try {
      const id = await start();
      const environment = { PORTCULLIS_URL: own.url, PORTCULLIS_KEY: secret };
      const watching = runCommand(['runs', 'watch', id, '--json'], { environment });
      await run(['event', id, 'first']);
      // The port of a gate under test is its own choice: what takes its place must be told.
      const { port } = new URL(own.url);
      await new Promise((resolve) => setTimeout(resolve, 2500));
      await own.end();
      const next = await startGate({ database: gate.database, env: { HTTP_ADDR: `127.0.0.1:${port}` } });
      await run(['event', id, 'second']);
      await run(['finish', id]);
      const { code, stdout, stderr } = await watching;
      await next.stop();
      expect(code, stderr).toBe(0);
      expect(stderr).toContain('The stream broke');
      expect(stdout.match(/"type":"(first|second)"/g)).toEqual(['"type":"first"', '"type":"second"']);
    } finally {
      await own.stop();
    }
  });
});
