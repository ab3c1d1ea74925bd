import type { NanoUsd } from '../base/money.ts';

/** 10^-18: bills have more decimals than we count, and their lines are summed before they are rounded. */
export type Atto = bigint;

const attoDigits = 18;

// Its sign and its exponent say nothing.
const zero = /^-?0{1,15}(?:\.0{1,60})?(?:[eE][+-]?\d{1,5})?$/;

/**
 * Reads a number as JSON and CSV have it ("12", "0.0123", "1.5e-7"), exactly to 18 decimals.
 * @returns null for anything else: signs and words are for the caller to refuse
 */
export function parseDecimal(text: string): Atto | null {
  if (zero.test(text)) return 0n;
  const [, whole = '', decimals = '', power = '0'] =
    /^(\d{1,15})(?:\.(\d{1,60}))?(?:[eE]([+-]?\d{1,2}))?$/.exec(text) ?? [];
  if (whole === '') return null;
  const digits = BigInt(whole + decimals);
  const shift = attoDigits - decimals.length + Number(power);
  return shift >= 0 ? digits * 10n ** BigInt(shift) : roundedQuotient(digits, 10n ** BigInt(-shift));
}

/** To the next nano-USD, a half up. */
export function nanoOf(atto: Atto): NanoUsd {
  return roundedQuotient(atto, 1_000_000_000n);
}

function roundedQuotient(amount: bigint, divisor: bigint): bigint {
  return (amount + divisor / 2n) / divisor;
}
