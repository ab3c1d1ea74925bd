import type { Logger } from './log.ts';

/** What has been started, to be stopped in the reverse order. */
export class Stops {
  readonly #stops: { readonly name: string; readonly stop: () => unknown }[] = [];

  add(name: string, stop: () => unknown): void {
    this.#stops.push({ name, stop });
  }

  /** Stops everything, also what comes after something that failed to stop. */
  async run(log: Logger): Promise<void> {
    for (const { name, stop } of this.#stops.toReversed()) {
      try {
        await stop();
      } catch (err) {
        log.error({ err, part: name }, 'a part did not stop cleanly');
      }
    }
  }
}
