/** A number of a price sheet that is none: a mistake in the file. */
export class MalformedPrice extends Error {}

/** How many decimals are counted, and between which amounts it must be: beyond, somebody took one unit for another. */
export interface NumberRange {
  readonly digits: number;
  readonly min?: number;
  readonly max: number;
}

/**
 * A number of a JSON file times ten to the `digits`, rounded up to a whole one. Fifteen significant digits are what such a
 * number can be trusted with: the sixteenth is the noise of somebody's arithmetic.
 * @throws MalformedPrice naming `key`
 */
export function exactNumber(key: string, value: unknown, { digits, min = 0, max }: NumberRange): bigint {
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw new MalformedPrice(`${key} must be a number from ${min} to ${max}`);
  }
  const [mantissa = '0', exponent = '0'] = value.toExponential(14).split('e');
  const [whole = '0', fraction = ''] = mantissa.split('.');
  const shift = digits + Number(exponent) - fraction.length;
  const number = BigInt(whole + fraction);
  if (shift >= 0) return number * 10n ** BigInt(shift);
  const divisor = 10n ** BigInt(-shift);
  return (number + divisor - 1n) / divisor;
}
