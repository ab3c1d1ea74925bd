/**
 * Calls back once nothing was heard for so long, and again after each further such time until it is stopped. Hearing
 * something costs a look at the clock: a timer that is moved for each event of each stream costs more than the event.
 */
export class SilenceWatch {
  readonly #ms: number;
  readonly #tell: () => void;
  #heardAt = performance.now();
  #timer: NodeJS.Timeout;

  constructor(ms: number, tell: () => void) {
    this.#ms = ms;
    this.#tell = tell;
    this.#timer = setTimeout(this.#look, ms);
  }

  /** Something was heard. */
  broken(): void {
    this.#heardAt = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  readonly #look = (): void => {
    const leftMs = this.#heardAt + this.#ms - performance.now();
    this.#timer = setTimeout(this.#look, leftMs > 0 ? Math.ceil(leftMs) : this.#ms);
    if (leftMs <= 0) this.#tell();
  };
}
