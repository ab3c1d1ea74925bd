/** Random numbers that are the same for the same seed (xorshift32, Marsaglia 2003): what a benchmark asks for, not a secret. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Any state but 0.
    this.#state = (seed * 2_654_435_761) | 1;
  }

  /** Whole, from 0 to below the bound. */
  below(bound: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return Math.floor(((this.#state >>> 0) / 2 ** 32) * bound);
  }

  /** @throws RangeError for an empty list */
  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)];
    if (picked === undefined) throw new RangeError('there is nothing to pick from');
    return picked;
  }
}
