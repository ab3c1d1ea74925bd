import type { Routing } from './route-config.ts';

/** Calls that were already authorized may still be on their way to the providers of an old configuration. */
const retiredKeptMs = 10_000;

/** The routing of the configuration in force, and of those before it what is still in use. */
export class RoutingInForce {
  #current: Routing;
  readonly #retired = new Map<Routing, NodeJS.Timeout>();
  readonly #closeFailed: (error: unknown) => void;

  /** `closeFailed` is told when the connections of an old routing do not close. */
  constructor(first: Routing, closeFailed: (error: unknown) => void) {
    this.#current = first;
    this.#closeFailed = closeFailed;
  }

  get current(): Routing {
    return this.#current;
  }

  replace(next: Routing): void {
    const previous = this.#current;
    this.#current = next;
    const retire = () => {
      this.#retired.delete(previous);
      previous.close().catch(this.#closeFailed);
    };
    this.#retired.set(previous, setTimeout(retire, retiredKeptMs));
  }

  async close(): Promise<void> {
    for (const timer of this.#retired.values()) clearTimeout(timer);
    await Promise.all([this.#current, ...this.#retired.keys()].map((routing) => routing.close()));
  }
}
