/** The last bin: what took 2^31.75 ms (42 days) or longer. */
export const durationBinMax = 255;

// 2^(0/8) to 2^(8/8), digit by digit as `duration_bin` of the schema has them: both find the same bin for every number.
const steps = [
  1,
  1.0905077326652577,
  1.189207115002721,
  1.2968395546510096,
  Math.SQRT2,
  1.5422108254079407,
  1.681792830507429,
  1.8340080864093424,
  2,
];

/**
 * The bin of a duration in milliseconds: 0 below 1 ms, else 1 + floor(8 * log2(ms)), at most `durationBinMax`. The same as
 * the function `duration_bin` of the schema.
 */
export function durationBin(ms: number): number {
  if (ms < 1) return 0;
  const octave = Math.floor(Math.log2(ms));
  // Exact: a power of two. A logarithm that was a hair off is corrected here, since the steps reach from 1 to 2.
  const part = ms / 2 ** octave;
  const bin = 8 * octave + steps.filter((step) => part >= step).length;
  // Not so for what is no number.
  return bin < durationBinMax ? bin : durationBinMax;
}

/** The geometric middle of a bin, in milliseconds: at most 4.5 % from anything in bins 1 to 254; of bin 0, half a millisecond. */
export function binMiddleMs(bin: number): number {
  return bin === 0 ? 0.5 : 2 ** ((bin - 0.5) / 8);
}

/**
 * The middle of the bin in which the percentile lies (nearest rank), in milliseconds.
 * @param bins how many are in each bin
 * @param percent whole, 1 to 100
 * @returns null where there are none
 */
export function percentile(bins: ReadonlyMap<number, bigint>, percent: number): number | null {
  const filled = [...bins].filter(([, count]) => count > 0n).sort(([a], [b]) => a - b);
  const total = filled.reduce((sum, [, count]) => sum + count, 0n);
  const rank = (total * BigInt(percent) + 99n) / 100n;
  let seen = 0n;
  for (const [bin, count] of filled) {
    seen += count;
    if (seen >= rank) return binMiddleMs(bin);
  }
  return null;
}
