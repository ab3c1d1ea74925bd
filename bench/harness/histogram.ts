// Two per cent a bucket, from a tenth of a microsecond to several hours.
const base = 1.02;
const smallest = 1e-4;
const bucketsMax = 1_500;

/** Times by buckets of two per cent, so that those of several processes can be put together. */
export class Histogram {
  readonly #counts: number[];

  /** @param counts what `counts` of other histograms gave, to be put together */
  constructor(...counts: readonly (readonly number[])[]) {
    const length = Math.max(0, ...counts.map((each) => each.length));
    this.#counts = Array.from({ length }, (_, bucket) => counts.reduce((sum, each) => sum + (each[bucket] ?? 0), 0));
  }

  add(value: number): void {
    const bucket = Math.min(bucketsMax, Math.max(0, Math.round(Math.log(value / smallest) / Math.log(base))));
    while (this.#counts.length <= bucket) this.#counts.push(0);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  get counts(): readonly number[] {
    return this.#counts;
  }

  /** The value at a fraction (0 to 1), to two per cent; NaN when there is none. */
  quantile(fraction: number): number {
    const all = this.#counts.reduce((sum, count) => sum + count, 0);
    let below = 0;
    const bucket = this.#counts.findIndex((count) => (below += count) >= Math.max(1, fraction * all));
    return bucket < 0 ? Number.NaN : smallest * base ** bucket;
  }
}
