/** Lets some work be done at once, and some of that for one caller; what comes then waits for its turn, and holds nothing. */
export class Turns {
  readonly #max: number;
  readonly #perCallerMax: number;
  readonly #running: string[] = [];
  readonly #waiting: { readonly caller: string; readonly begin: () => void }[] = [];

  constructor(max: number, perCallerMax: number) {
    this.#max = max;
    this.#perCallerMax = perCallerMax;
  }

  /** Runs `work` when it is its turn: who came first begins first, but for those who have as much under way as they may. */
  async run<T>(caller: string, work: () => Promise<T>): Promise<T> {
    const turn = Promise.withResolvers<void>();
    this.#waiting.push({ caller, begin: turn.resolve });
    this.#next();
    await turn.promise;
    try {
      return await work();
    } finally {
      this.#running.splice(this.#running.indexOf(caller), 1);
      this.#next();
    }
  }

  #next(): void {
    if (this.#running.length >= this.#max) return;
    const first = this.#waiting.findIndex(
      ({ caller }) => this.#running.filter((each) => each === caller).length < this.#perCallerMax,
    );
    const [begun] = first === -1 ? [] : this.#waiting.splice(first, 1);
    if (begun === undefined) return;
    this.#running.push(begun.caller);
    begun.begin();
  }
}
