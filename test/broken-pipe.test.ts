import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const main = resolve(import.meta.dirname, '../server/src/main.ts');

test('a command whose reader has read enough ends without a word', async () => {
  const command = spawn(process.execPath, [main, 'prices', 'claude-sonnet-4-5'], { stdio: ['ignore', 'pipe', 'pipe'] });
  command.stdout.destroy();
  let said = '';
  command.stderr.on('data', (chunk) => (said += String(chunk)));
  const [code] = await once(command, 'close');
  expect(said).not.toContain('EPIPE');
  expect(code).toBe(0);
});
