import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';

const repository = resolve(import.meta.dirname, '../../..');
const inside = mkdtempSync(join(repository, 'node_modules/.portcullis-'));
const outside = mkdtempSync(join(tmpdir(), 'portcullis-edit-'));
afterAll(() => {
  for (const folder of [inside, outside]) rmSync(folder, { recursive: true });
});

const liteLlm = 'model_list: [{ model_name: claude, litellm_params: { model: anthropic/claude-sonnet-4-5 } }]\n';
writeFileSync(join(outside, 'litellm.yaml'), liteLlm);

const commands = [
  ['add', 'anthropic'],
  ['import', 'litellm', 'litellm.yaml', '--write'],
];

/** The file that a command makes, and the schema that its first line leads an editor to. */
async function made(file: string, args: readonly string[]) {
  rmSync(file, { force: true });
  expect(await runCommand(args, { cwd: outside, environment: { CONFIG_FILE: file } })).toMatchObject({ code: 0 });
  const text = readFileSync(file, 'utf8');
  const [, way] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text) ?? [];
  return { text, schema: way === undefined ? null : resolve(dirname(file), way) };
}

describe.each(commands)('portcullis %s', (...args) => {
  test('tells editors where the schema of a new file of the installation is', async () => {
    const { text, schema } = await made(join(inside, 'portcullis.yaml'), args);
    expect(schema).toBe(join(repository, 'docs/reference/portcullis.schema.json'));
    expect(text).toContain('kind: anthropic');
  });

  test("leaves that out of a file in somebody's own folder", async () => {
    expect((await made(join(outside, 'portcullis.yaml'), args)).text).not.toContain('$schema');
  });
});

test('portcullis add leaves the head of a file that is there already as it is', async () => {
  const file = join(inside, 'mine.yaml');
  writeFileSync(file, '# mine\n');
  await runCommand(['add', 'anthropic'], { cwd: outside, environment: { CONFIG_FILE: file } });
  expect(readFileSync(file, 'utf8')).toMatch(/^# mine\nproviders:/);
});
