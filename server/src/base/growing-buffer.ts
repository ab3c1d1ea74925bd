/** Bytes that come in pieces, however small: doubling keeps the copying linear, and no piece stays an object of its own. */
export class GrowingBuffer {
  /** The first `#length` bytes count. */
  #held: Buffer = Buffer.alloc(0);
  #length = 0;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds `chunk`. The first one may be kept as it is: it must not change afterwards. */
  push(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (this.#length === 0) {
      this.#held = chunk;
    } else {
      if (length > this.#held.length) {
        const grown = Buffer.allocUnsafe(Math.max(length, 2 * this.#held.length));
        this.#held.copy(grown, 0, 0, this.#length);
        this.#held = grown;
      }
      chunk.copy(this.#held, this.#length);
    }
    this.#length = length;
  }

  /** All bytes so far, not copied: to be used before more are pushed, or after the last. */
  bytes(): Buffer {
    return this.#held.subarray(0, this.#length);
  }
}
