/** A reproducible source of chance: mulberry32, small and good enough to choose faults with. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** The nth of the streams that a seed has; they have nothing to do with each other. */
  static of(seed: number, n: number): Random {
    const mixed = Math.imul(seed ^ (n + 0x9e3779b9), 0x85ebca6b) ^ Math.imul(n + 1, 0xc2b2ae35);
    const random = new Random(mixed);
    random.next();
    return random;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[this.int(0, from.length - 1)] ?? from[0];
  }
}
