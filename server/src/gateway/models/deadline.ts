import { PortcullisError } from '../../base/errors.ts';
import type { Deadlines } from './routing.ts';

/**
 * The deadlines of one call: first byte, then idle, and the total all along. Passing one aborts the call through
 * `abort`, with an error that says which.
 */
export class CallDeadline {
  readonly #abort: (error: PortcullisError) => void;
  readonly #deadlines: Deadlines;
  readonly #total: NodeJS.Timeout;
  #silence: NodeJS.Timeout;
  #answering = false;

  constructor(deadlines: Deadlines, abort: (error: PortcullisError) => void) {
    this.#abort = abort;
    this.#deadlines = deadlines;
    this.#total = setTimeout(
      () => this.#pass('The call took longer in all than', deadlines.totalMs),
      deadlines.totalMs,
    );
    this.#silence = setTimeout(
      () => this.#pass('The provider sent no first byte within', deadlines.firstByteMs),
      deadlines.firstByteMs,
    );
  }

  /** The provider sent something: the silence that is allowed begins anew. */
  progress(): void {
    if (this.#answering) {
      this.#silence.refresh();
      return;
    }
    this.#answering = true;
    clearTimeout(this.#silence);
    const { idleMs } = this.#deadlines;
    this.#silence = setTimeout(() => this.#pass('Nothing moved in the stream for', idleMs), idleMs);
  }

  stop(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#silence);
  }

  #pass(what: string, ms: number): void {
    this.stop();
    this.#abort(new PortcullisError('deadline_exceeded', `${what} ${ms / 1000} s.`));
  }
}
