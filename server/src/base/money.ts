import { PortcullisError } from './errors.ts';

/** Money is an integer count of nano-USD (1e-9 USD), in code and in SQL. No float ever holds an amount. */
export type NanoUsd = bigint;

export const nanoPerUsd = 1_000_000_000n;

/** Largest amount that a PostgreSQL bigint holds. */
export const maxAmount = 9_223_372_036_854_775_807n;

/**
 * Reads a decimal amount of USD ("12", "0.25", "$3.50") exactly.
 * @throws PortcullisError invalid_argument for signs, exponents, or more than nine decimals.
 */
export function parseUsd(text: string): NanoUsd {
  const match = /^\$?(\d{1,10})(?:\.(\d{1,9}))?$/.exec(text.trim());
  if (!match) {
    throw new PortcullisError(
      'invalid_argument',
      `"${text}" is not an amount in USD: write it like 12 or 0.25, with at most nine decimals.`,
    );
  }
  const amount = BigInt(match[1] ?? '0') * nanoPerUsd + BigInt((match[2] ?? '').padEnd(9, '0'));
  if (amount > maxAmount)
    throw new PortcullisError('invalid_argument', `"${text}" is more than this system can count.`);
  return amount;
}

/** Writes an amount for people: at least two decimals, as many as needed, exact ("$0.25", "$0.000018"). */
export function formatUsd(amount: NanoUsd): string {
  const sign = amount < 0n ? '-' : '';
  const absolute = amount < 0n ? -amount : amount;
  const decimals = (absolute % nanoPerUsd).toString().padStart(9, '0').replace(/0+$/, '').padEnd(2, '0');
  return `${sign}$${absolute / nanoPerUsd}.${decimals}`;
}
