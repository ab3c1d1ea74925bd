import { maxAmount, formatUsd, parseUsd } from '../base/money.ts';
import { BudgetUnit, BudgetUnitSchema } from '../gen/portcullis/v1/budget_pb.ts';
import { CliError } from './context.ts';
import { enumWord } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';

/** An amount in a budget's unit for people: `$0.25`, `1000 tokens`, `4 at a time`, `30s`. */
export function amountText(amount: bigint, unit: BudgetUnit): string {
  switch (unit) {
    case BudgetUnit.USD:
      return formatUsd(amount);
    case BudgetUnit.CONCURRENT_REQUESTS:
      return `${amount} at a time`;
    case BudgetUnit.LATENCY_MS:
      return amount % 1000n === 0n ? `${amount / 1000n}s` : `${amount}ms`;
    default:
      return `${amount} ${enumWord(BudgetUnitSchema, unit)}`;
  }
}

/** Reads a limit as a person writes it. @throws CliError when the text is no amount of that unit */
export function parseAmount(text: string, unit: BudgetUnit): bigint {
  const wrong = (expected: string) => new CliError(`--limit: "${text}" is not ${expected}.`, exitCodes.usage);
  switch (unit) {
    case BudgetUnit.USD:
      try {
        return parseUsd(text);
      } catch {
        throw wrong('an amount in USD: write it like 5 or 0.25');
      }
    case BudgetUnit.LATENCY_MS:
      return parseMs(text) ?? raise(wrong('a length of time: write it like 30s or 1500ms'));
    case BudgetUnit.CONCURRENT_REQUESTS:
      return parseCount(text) ?? raise(wrong('a whole number of requests at a time'));
    default:
      return parseCount(text) ?? raise(wrong(`a whole number of ${enumWord(BudgetUnitSchema, unit)}`));
  }
}

function parseCount(text: string): bigint | null {
  const amount = /^\d{1,19}$/.test(text) ? BigInt(text) : maxAmount + 1n;
  return amount <= maxAmount ? amount : null;
}

const msOf: Readonly<Record<string, bigint>> = { ms: 1n, s: 1_000n, m: 60_000n };

function parseMs(text: string): bigint | null {
  if (text === '0') return 0n;
  const [, count, unit] = /^(\d{1,9})(ms|s|m)$/.exec(text) ?? [];
  const ms = msOf[unit ?? ''];
  return count === undefined || ms === undefined ? null : BigInt(count) * ms;
}

function raise(error: Error): never {
  throw error;
}

/** Reads `50,80,100` into percents; nothing is none. @throws CliError */
export function parsePercents(text: string): number[] {
  if (text === '') return [];
  const percents = text.split(',').map((part) => part.trim());
  if (percents.every((percent) => /^\d{1,4}$/.test(percent))) return percents.map(Number);
  throw new CliError(
    `--notify: "${text}" are not percents: write them like 50,80,100, or "" for none.`,
    exitCodes.usage,
  );
}
