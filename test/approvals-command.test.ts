import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../server/src/cli/program.ts';
import { ApprovalDesk, type Approver, newHitlSecret } from './support/approvals.ts';
import { type CliRun, runCommand, testContext } from './support/cli.ts';

/** `portcullis approvals` as docs/approvals.md tells it. */

let desk: ApprovalDesk;
let ada: Approver;

beforeAll(async () => {
  desk = await ApprovalDesk.open({ HITL_SECRET: newHitlSecret() });
  ada = await desk.approver();
}, 120_000);
afterAll(() => desk?.close());

const environment = (key: string) => ({ PORTCULLIS_URL: desk.gate.url, PORTCULLIS_KEY: key });
const run = (args: readonly string[], key = ada.key): Promise<CliRun> =>
  runCommand(['approvals', ...args], { environment: environment(key) });

/** The commands of the page, as a shell would split them. */
function commandsOfPage(): string[][] {
  const page = readFileSync(join(import.meta.dirname, '../docs/approvals.md'), 'utf8');
  const [, block = ''] = /```sh\n(.*?)```/s.exec(page) ?? [];
  return block
    .trim()
    .split('\n')
    .map((line) => [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '').slice(2));
}

test('every command of the page does what it says', async () => {
  const outcomes: Record<string, string> = {
    approve: 'It is approved.\n',
    reject: 'It is rejected.\n',
    edit: 'It is edited.\n',
    respond: 'It is rejected.\n',
  };
  const told: string[] = [];
  for (const [name = '', ...rest] of commandsOfPage()) {
    told.push(name);
    // It shows what waits until it is stopped.
    if (name === 'watch') continue;
    const { id } = await desk.ask();
    const { code, stdout, stderr } = await run([name, ...rest.map((word) => (word === 'apr_…' ? id : word))]);
    expect([name, code, stderr]).toEqual([name, 0, '']);
    expect(stdout).toContain(outcomes[name] ?? id);
  }
  expect(told).toEqual(['list', 'show', 'approve', 'reject', 'edit', 'respond', 'watch']);
});

describe('what is shown', () => {
  test('is exactly what is asked for, and nothing in it is obeyed by a terminal', async () => {
    const hostile = { text: 'a\u202eb\u001b[2Jc' };
    const { id, digest } = await desk.ask({
      argumentsJson: JSON.stringify(hostile),
      summary: 'Hi\u001b[2J\u202e\nyou',
    });
    const { stdout } = await run(['show', id]);
    expect(stdout).toContain(digest);
    expect(stdout).toContain(String.raw`"text": "a\u202eb\u001b[2Jc"`);
    expect(stdout).toContain('Hi\uFFFD[2J\uFFFD\nyou');
    expect(stdout).not.toMatch(/\u202e/);
    expect(stdout.includes('\u001b')).toBe(false);
    await run(['reject', id, '--reason', 'No.']);
    const after = await run(['show', id]);
    expect(after.stdout).toMatch(new RegExp(`${ada.id} +reject +key +${digest.slice(0, 12)} +No\\.`));
    expect((await run(['list', '--all', '--json'])).stdout).toContain(id);
    expect((await run(['list'])).stdout).not.toContain(id);
    expect((await run(['list', '--state', 'rejected'])).stdout).toContain(id);
  });

  test('comes as it is asked, and one can be waited for until its outcome', async () => {
    const { id } = await desk.ask();
    const waiting = run(['watch', id], desk.agent.secret);
    await run(['approve', id]);
    expect((await waiting).stdout).toContain(`${id}  tool_call  files.delete  by asker: approved`);
    const { id: next } = await desk.ask();
    const { context, written } = testContext({ environment: environment(ada.key) });
    void runCli(context, ['approvals', 'watch', '--json']);
    await expect.poll(() => written().stdout).toContain(`"id":"${next}"`);
    const { id: later } = await desk.ask();
    await expect.poll(() => written().stdout, { timeout: 10_000 }).toContain(`"id":"${later}"`);
  });
});

describe('a decision', () => {
  test('of an agent, or on something else than was seen, is refused', async () => {
    const { id } = await desk.ask();
    expect(await run(['approve', id], desk.agent.secret)).toMatchObject({ code: 3 });
    expect(await run(['approve', id, '--digest', '0'.repeat(64)])).toMatchObject({ code: 1 });
    expect(await run(['approve', id, '--digest', 'short'])).toMatchObject({ code: 2 });
    expect(await run(['edit', id])).toMatchObject({ code: 2 });
  });

  test('may grant the same again, in whole', async () => {
    const { id } = await desk.ask();
    expect(await run(['approve', id, '--again', '3'])).toMatchObject({ code: 2 });
    expect(await run(['approve', id, '--again', '3', '--within', '1h', '--any-arguments'])).toMatchObject({ code: 0 });
    const [granted] = await desk.audited('approval.granted', id);
    expect(granted?.payload).toEqual({ uses: 3, within_ms: 3_600_000, any_arguments: true });
  });
});
