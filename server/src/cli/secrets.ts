import { Command, InvalidArgumentError } from 'commander';
import { isStrong } from '../config/production.ts';
import { generateApiKey } from '../identity/api-key.ts';
import type { CliContext } from './context.ts';

const secretsMax = 100;

/** `portcullis secrets`: material for SECRETS_KEY, ADMIN_API_KEY and the like. */
export function secretsCommand(context: CliContext): Command {
  return new Command('secrets').description('make strong secrets').addCommand(
    new Command('generate')
      .description('print secrets of 256 random bits in base62, one a line')
      .option('--count <number>', 'how many', parseCount, 1)
      .action(({ count }: { count: number }) => {
        for (let i = 0; i < count; i++) context.stdout.write(`${generateSecret()}\n`);
      }),
  );
}

/** 43 base62 digits. By chance one in ten thousand spells a word that production takes for a known default. */
function generateSecret(): string {
  for (;;) {
    const { secret } = generateApiKey();
    if (isStrong(secret)) return secret;
  }
}

function parseCount(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > secretsMax) throw new InvalidArgumentError(`Write a number from 1 to ${secretsMax}.`);
  return count;
}
