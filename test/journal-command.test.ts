import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
const folder = mkdtempSync(join(tmpdir(), 'portcullis-journal-'));
const hostile = '<b>bold</b>\u001b[2J\u001b]0;owned\u0007 abc\u202edef\u2066\n"second" line\r\n';

beforeAll(async () => {
  gate = await startGate();
  writeFileSync(join(folder, 'hostile.txt'), hostile);
});
afterAll(async () => {
  await gate?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
  const done = await runCommand(args, { environment, cwd: folder, isTTY: true });
  const styles = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, 'g');
  expect(done.stdout.replace(styles, ''), 'what a terminal would obey').not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
  return done;
}

const json = async <T>(...args: string[]) => JSON.parse((await run(...args, '--json')).stdout) as T;

test('a task is added, listed, shown, changed and deleted; its text is shown and never obeyed', async () => {
  interface Answer {
    readonly task: { readonly id: string; readonly etag: string; readonly details: string; readonly tags: string[] };
  }
  const { task } = await json<Answer>(
    'tasks',
    'add',
    'Rotate\u001b[31m keys',
    '--details-file',
    'hostile.txt',
    '--tag',
    'Ops',
    '--tag',
    'ops ',
  );
  expect([task.details, task.tags]).toEqual([hostile, ['ops']]);
  expect((await run('tasks', 'list')).stdout).toMatch(/Rotate\\x1b\[31m keys +task_\w+ +todo +ops/);
  const shown = (await run('tasks', 'show', task.id)).stdout;
  expect(shown).toContain('<b>bold</b>\\x1b[2J\\x1b]0;owned\\x07 abc\\u{202e}def\\u{2066}\n"second" line\n');
  const update = ['tasks', 'update', task.id];
  const updated = await json<Answer>(...update, '--status', 'in_progress', '--clear-details', '--etag', task.etag);
  expect(updated.task).toMatchObject({ status: 'TASK_STATUS_IN_PROGRESS', details: '', tags: ['ops'] });
  expect(await run(...update, '--title', 'other', '--etag', task.etag)).toMatchObject({ code: 1 });
  expect(await run(...update)).toMatchObject({ code: 2 });
  expect(await run(...update, '--clear-details', '--details', 'x')).toMatchObject({ code: 2 });
  expect((await run('tasks', 'list', '--status', 'todo')).stderr).toBe('There are no tasks.\n');
  expect((await run('tasks', 'delete', task.id)).stdout).toContain('is deleted');
  expect(await run('tasks', 'show', task.id)).toMatchObject({ code: 1 });
});

test('notes, the changelog and benchmarks are added and listed', async () => {
  await run('notes', 'add', 'On call', '--body', 'Ask Ada.', '--tag', 'people');
  const [, noteId = ''] = /On call +(note_\w+) +Ask Ada\. +people/.exec((await run('notes', 'list')).stdout) ?? [];
  expect((await run('notes', 'delete', noteId)).stdout).toBe(`Note "On call" (${noteId}) is deleted.\n`);
  expect(await run('notes', 'delete', noteId)).toMatchObject({ code: 1 });
  expect((await run('notes', 'list')).stderr).toBe('There are no notes.\n');
  await run('changelog', 'append', 'New prices', '--category', 'model', '--details-file', 'hostile.txt');
  expect((await run('changelog', 'list', '--category', 'model')).stdout).toMatch(/model +New prices +<b>bold/);
  expect((await run('changelog', 'list', '--category', 'infra')).stderr).toBe('The changelog is empty.\n');
  const measured = [
    '--workflow',
    'fix-bug',
    '--provider-type',
    'api',
    '--model',
    'm1',
    '--cost',
    '0.25',
    '--latency',
    '120.5',
  ];
  await run('benchmarks', 'record', ...measured, '--quality', '0.9', '--input-tokens', '12');
  expect((await run('benchmarks', 'list', '--workflow', 'fix-bug')).stdout).toMatch(/m1 .*12 +0 +\$0\.25 +121 +0\.9/);
  expect(await run('benchmarks', 'record', '--workflow', 'w', '--model', 'm')).toMatchObject({ code: 2 });
});
