import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';

// Under REQUIRE_ALL nothing may be left out: the test then fails where its shell is not.
const isMissing = (shell: string) => !process.env['REQUIRE_ALL'] && spawnSync(shell, ['-c', 'true']).status !== 0;

let scripts: Record<string, string>;
beforeAll(async () => {
  const entries = ['bash', 'zsh', 'fish'].map(async (shell) => [
    shell,
    (await runCommand(['completion', shell])).stdout,
  ]);
  scripts = Object.fromEntries(await Promise.all(entries)) as Record<string, string>;
});

/** What a shell offers after the words that were typed. */
function offered(shell: 'bash' | 'zsh' | 'fish', program: string): string[] {
  const plain = { bash: '--norc', zsh: '-f', fish: '--no-config' }[shell];
  const { stdout, stderr } = spawnSync(shell, [plain, '-c', program], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '' },
  });
  expect(stderr).toBe('');
  return stdout.trim().split(/\s*\n\s*/);
}

describe('portcullis completion', () => {
  test('offers commands, options and choices in bash', ({ skip }) => {
    skip(isMissing('bash'), 'bash is not installed');
    const ask = (words: string) => {
      const list = `COMP_WORDS=(portcullis ${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _portcullis; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return offered('bash', `${scripts['bash']}\n${list}`);
    };
    expect(ask('"k"')).toEqual(['keys', 'kill']);
    expect(ask('keys cr')).toEqual(['create']);
    expect(ask('keys create --agent x --sc')).toEqual(['--scope']);
    expect(ask('add o')).toEqual(['openai', 'openai-compatible', 'ollama']);
  });

  test('offers the same in zsh', ({ skip }) => {
    skip(isMissing('zsh'), 'zsh is not installed');
    const stub = 'compdef() { :; }; _describe() { print -l -- "${(@P)2}"; }';
    const program = `${stub}\n${scripts['zsh']}\nwords=(portcullis keys ""); CURRENT=3; _portcullis`;
    const names = offered('zsh', program).map((line) => line.split(':')[0]);
    expect(names).toEqual(['create', 'list', 'rotate', 'revoke', 'signing', '--help']);
  });

  test('offers the same in fish', ({ skip }) => {
    skip(isMissing('fish'), 'fish is not installed');
    const lines = offered('fish', `${scripts['fish']}\ncomplete -C "portcullis keys r"`);
    expect(lines.map((line) => line.split('\t')[0])).toEqual(['revoke', 'rotate']);
  });
});
