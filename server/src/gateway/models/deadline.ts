import { PortcullisError } from '../../base/errors.ts';
import { type LatencyCap, tookTooLong } from './latency-cap.ts';
import type { Deadlines } from './routing.ts';
import { SilenceWatch } from './silence-watch.ts';

/**
 * The deadlines of one attempt: its answer must begin, then the stream must move, whoever holds it up, and all of it
 * must end. Passing one aborts the call through `abort`, with an error that says which.
 */
export class CallDeadline {
  readonly #abort: (error: PortcullisError) => void;
  readonly #deadlines: Deadlines;
  readonly #total: NodeJS.Timeout;
  readonly #beginning: NodeJS.Timeout;
  #idle: SilenceWatch | null = null;
  #waitingForClient = false;

  /** `spentMs`: what earlier attempts took of the total; `cap` is for this attempt alone. */
  constructor(
    deadlines: Deadlines,
    abort: (error: PortcullisError) => void,
    { spentMs, cap }: { readonly spentMs: number; readonly cap: LatencyCap | null },
  ) {
    this.#abort = abort;
    this.#deadlines = deadlines;
    const leftMs = deadlines.totalMs - spentMs;
    this.#total =
      cap !== null && cap.ms < leftMs
        ? setTimeout(() => this.#end(tookTooLong(cap)), cap.ms)
        : setTimeout(() => this.#pass('The call took longer in all than', deadlines.totalMs), leftMs);
    this.#beginning = setTimeout(
      () => this.#pass('The provider did not begin its answer within', deadlines.firstByteMs),
      deadlines.firstByteMs,
    );
  }

  /** The answer began, or more of it came: the silence that is allowed begins anew. */
  progress(): void {
    if (this.#idle !== null) {
      this.#idle.broken();
      return;
    }
    clearTimeout(this.#beginning);
    const { idleMs } = this.#deadlines;
    this.#idle = new SilenceWatch(idleMs, () => {
      const who = this.#waitingForClient ? 'The client took nothing of its answer for' : 'The provider was silent for';
      this.#pass(who, idleMs);
    });
  }

  /** The client does not read, so that nothing is read from the provider; or it reads again. The allowed silence begins anew. */
  waitForClient(waiting: boolean): void {
    this.#waitingForClient = waiting;
    this.progress();
  }

  stop(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#beginning);
    this.#idle?.stop();
  }

  #pass(what: string, ms: number): void {
    this.#end(new PortcullisError('deadline_exceeded', `${what} ${ms / 1000} s.`));
  }

  #end(error: PortcullisError): void {
    this.stop();
    this.#abort(error);
  }
}
