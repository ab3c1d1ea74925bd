import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { runCommand } from '../../../../test/support/cli.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../../docs/prices.md'), 'utf8');
const cwd = mkdtempSync(join(tmpdir(), 'portcullis-prices-page-'));
afterAll(() => rmSync(cwd, { recursive: true }));

/** The fenced blocks of the page in a language. */
function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text ?? '');
}

/** Every command of a console block, with what the page says that it prints. */
const commands = blocks('console').flatMap((block) =>
  block
    .split(/^\$ portcullis /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n');
      return { command: part.slice(0, end), printed: part.slice(end + 1) };
    }),
);

test('the page has commands', () => {
  expect(commands.length).toBeGreaterThan(4);
});

test.each(commands)('portcullis $command prints what the page says', async ({ command, printed }) => {
  const [json = ''] = blocks('json');
  writeFileSync(join(cwd, 'portcullis.yaml'), blocks('yaml')[0] ?? '');
  writeFileSync(join(cwd, 'model_prices.json'), json);
  const day = new Date('2026-11-20T12:00:00Z');
  utimesSync(join(cwd, 'model_prices.json'), day, day);
  const environment = { OPENAI_API_KEY: 'x', AZURE_OPENAI_API_KEY: 'x' };
  const { stdout } = await runCommand(command.split(' '), { cwd, environment });
  expect(stdout).toBe(printed);
});
