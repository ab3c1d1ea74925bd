/** A number of a price sheet that is none: a mistake in the file. */
export class MalformedPrice extends Error {}

const shiftMax = 30;

/**
 * A number of a JSON file times ten to the `digits`, rounded up to a whole one. Fifteen significant digits are what such a
 * number can be trusted with: the sixteenth is the noise of somebody's arithmetic.
 * @throws MalformedPrice naming `key`
 */
export function exactNumber(key: string, value: unknown, digits: number): bigint {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new MalformedPrice(`${key} must be a number that is not negative`);
  }
  const [mantissa = '0', exponent = '0'] = value.toExponential(14).split('e');
  const [whole = '0', fraction = ''] = mantissa.split('.');
  const shift = digits + Number(exponent) - fraction.length;
  if (shift > shiftMax) throw new MalformedPrice(`${key} is more than can be counted`);
  const number = BigInt(whole + fraction);
  if (shift >= 0) return number * 10n ** BigInt(shift);
  const divisor = 10n ** BigInt(-shift);
  return (number + divisor - 1n) / divisor;
}
