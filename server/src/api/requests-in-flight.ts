import { PortcullisError } from '../base/errors.ts';
import { controlRequestsPerCallerMax } from '../base/limits.ts';

/** How many requests of the control API each principal has in flight in this process, so that none takes all room. */
export class RequestsInFlight {
  readonly #counts = new Map<string, number>();

  /** @throws PortcullisError rate_limited when the caller has too many, and what `work` throws */
  async run<T>(caller: string, work: () => Promise<T>): Promise<T> {
    const count = this.#counts.get(caller) ?? 0;
    if (count >= controlRequestsPerCallerMax) {
      throw new PortcullisError(
        'rate_limited',
        `This caller has ${count} requests in flight, which is the limit: wait until one ends.`,
        { retryAfterS: 1, rule: 'control.in_flight' },
      );
    }
    this.#counts.set(caller, count + 1);
    try {
      return await work();
    } finally {
      const left = (this.#counts.get(caller) ?? 1) - 1;
      if (left > 0) this.#counts.set(caller, left);
      else this.#counts.delete(caller);
    }
  }
}
