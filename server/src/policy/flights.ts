import { PortcullisError } from '../base/errors.ts';
import type { CallSubject } from './model.ts';

/**
 * Why a call must not go on as far as control state knows (a kill switch, a revoked key, state that is too old), or null
 * where it may. The composition root makes it of the indexes of this replica.
 */
export type StopReason = (subject: CallSubject) => PortcullisError | null;

export interface FlightLimits {
  /** Calls in flight in this process. */
  readonly maxPerProcess: number;
  /** Calls in flight or waiting by one caller, so that none can take all places. */
  readonly maxPerCaller: number;
  /** Calls that may wait for a place in the process. */
  readonly queueMax: number;
  readonly queueWaitMs: number;
  /** Bytes of request bodies that the calls in flight of this process hold together. */
  readonly bodyBytesMax: number;
}

export interface FlightPlan {
  /** Whose places are counted: the key's id, or the principal's where there is no key. */
  readonly caller: string;
  readonly subject: CallSubject;
  /** Ends the call, also while the upstream is silent. Called at most once; must not throw. */
  readonly abort: (error: PortcullisError) => void;
  /** Aborted when the client goes away: a call that still waits gives up its place in the queue. */
  readonly gone: AbortSignal;
}

interface Waiting {
  readonly subject: CallSubject;
  readonly admit: () => void;
  readonly refuse: (error: PortcullisError) => void;
}

/**
 * The calls in flight of this process. A call enters before it is checked, so that a kill switch either finds it here
 * or is found by its check: there is no moment between. It checks again in the tick of the upstream write, and
 * {@link sweep}, run after each change of control state, ends those that must not go on.
 *
 * Concurrency is bounded per caller (refused at once) and per process (waits first in, first out for a short time, then
 * refused), so that overload is shed before it slows those who are in.
 */
export class Flights {
  readonly #limits: FlightLimits;
  readonly #stopReason: StopReason;
  readonly #flights = new Set<Flight>();
  readonly #waiting = new Set<Waiting>();
  readonly #perCaller = new Map<string, number>();
  /** Places taken, including those just handed to a waiting call that has not resumed yet. */
  #taken = 0;
  #bodyBytes = 0;

  constructor(limits: FlightLimits, stopReason: StopReason) {
    this.#limits = limits;
    this.#stopReason = stopReason;
  }

  /** Calls in flight. */
  get size(): number {
    return this.#flights.size;
  }

  /** Calls that wait for a place. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Takes a place, registers the call and checks it. The caller must `end()` the flight, whatever happens.
   * @throws PortcullisError rate_limited (too many by this caller), unavailable (no place in time), client_closed, or
   * the reason why control state stops the call
   */
  async enter(plan: FlightPlan): Promise<Flight> {
    this.#countCaller(plan.caller);
    try {
      if (this.#taken < this.#limits.maxPerProcess) this.#taken++;
      else await this.#waitForPlace(plan);
    } catch (error) {
      this.#uncountCaller(plan.caller);
      throw error;
    }
    const flight: Flight = new Flight(plan, this.#stopReason, {
      takeBytes: (bytes) => this.#takeBytes(bytes),
      leave: (bytes) => {
        this.#flights.delete(flight);
        this.#bodyBytes -= bytes;
        this.#uncountCaller(plan.caller);
        this.#freePlace();
      },
    });
    this.#flights.add(flight);
    try {
      flight.check();
    } catch (error) {
      flight.end();
      throw error;
    }
    return flight;
  }

  /** How many calls are in flight or wait, and how many of them are known to be answered as a stream. */
  count(matches: (subject: CallSubject) => boolean): { readonly calls: number; readonly streams: number } {
    const flights = [...this.#flights].filter(({ subject }) => matches(subject));
    const waiting = [...this.#waiting].filter(({ subject }) => matches(subject));
    return {
      calls: flights.length + waiting.length,
      streams: flights.filter(({ streamed }) => streamed).length,
    };
  }

  /** Ends every call that control state stops now. @returns for each that it ended, why */
  sweep(): readonly PortcullisError[] {
    const reasons: PortcullisError[] = [];
    for (const { subject, refuse } of this.#waiting) {
      const reason = this.#stopReason(subject);
      if (!reason) continue;
      refuse(reason);
      reasons.push(reason);
    }
    for (const flight of this.#flights) {
      const reason = this.#stopReason(flight.subject);
      if (reason && flight.stop(reason)) reasons.push(reason);
    }
    return reasons;
  }

  /** Ends every call with `error`: the last step of a shutdown that has waited long enough. */
  abortAll(error: PortcullisError): void {
    for (const { refuse } of this.#waiting) refuse(error);
    for (const flight of this.#flights) flight.stop(error);
  }

  #countCaller(caller: string): void {
    const count = this.#perCaller.get(caller) ?? 0;
    if (count >= this.#limits.maxPerCaller) {
      throw new PortcullisError(
        'rate_limited',
        `This credential has ${count} calls in flight, which is its limit: wait until one ends.`,
        { retryAfterS: 1 },
      );
    }
    this.#perCaller.set(caller, count + 1);
  }

  #uncountCaller(caller: string): void {
    const count = this.#perCaller.get(caller) ?? 0;
    if (count > 1) this.#perCaller.set(caller, count - 1);
    else this.#perCaller.delete(caller);
  }

  #takeBytes(bytes: number): void {
    if (this.#bodyBytes + bytes > this.#limits.bodyBytesMax) {
      throw new PortcullisError('unavailable', 'The gate holds as many request bodies as it can: try again shortly.', {
        retryAfterS: 1,
      });
    }
    this.#bodyBytes += bytes;
  }

  #waitForPlace(plan: FlightPlan): Promise<void> {
    if (plan.gone.aborted) throw clientGone();
    if (this.#waiting.size >= this.#limits.queueMax) throw overloaded();
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        plan.gone.removeEventListener('abort', clientLeft);
        this.#waiting.delete(place);
      };
      const refuse = (error: PortcullisError) => {
        leave();
        reject(error);
      };
      const admit = () => {
        leave();
        resolve();
      };
      const clientLeft = () => refuse(clientGone());
      const timer = setTimeout(() => refuse(overloaded()), this.#limits.queueWaitMs);
      const place: Waiting = { subject: plan.subject, admit, refuse };
      plan.gone.addEventListener('abort', clientLeft);
      this.#waiting.add(place);
    });
  }

  #freePlace(): void {
    const [next] = this.#waiting;
    // The place goes from hand to hand, so that no newcomer takes it before the call that waits resumes.
    if (next) next.admit();
    else this.#taken--;
  }
}

/** What a flight has of the process: room for its body, and its place. */
interface Room {
  /** @throws PortcullisError unavailable */
  readonly takeBytes: (bytes: number) => void;
  /** Gives back the place, and so many bytes. */
  readonly leave: (bytes: number) => void;
}

/** One call in flight. */
export class Flight {
  readonly #plan: FlightPlan;
  readonly #stopReason: StopReason;
  readonly #room: Room;
  /** Known when the body was read. */
  streamed = false;
  #subject: CallSubject;
  #bodyBytes = 0;
  #stopped: PortcullisError | null = null;
  #ended = false;

  /** Made by {@link Flights.enter} alone. */
  constructor(plan: FlightPlan, stopReason: StopReason, room: Room) {
    this.#plan = plan;
    this.#stopReason = stopReason;
    this.#room = room;
    this.#subject = plan.subject;
  }

  get subject(): CallSubject {
    return this.#subject;
  }

  /** Adds what became known after the call entered, and checks again. */
  update(known: Partial<Pick<CallSubject, 'runId' | 'workflow' | 'models'>>): void {
    this.#subject = { ...this.#subject, ...known };
    this.check();
  }

  /**
   * An attempt at this provider begins, or is waited for; null: it is over, or none has begun. It is checked before
   * anything is sent ({@link check}), and found by a sweep from now on.
   */
  headFor(provider: string | null): void {
    this.#subject = { ...this.#subject, provider };
  }

  /** Why an attempt at this provider must not be begun now; null: it may. */
  whyNotTo(provider: string): PortcullisError | null {
    return this.#stopReason({ ...this.#subject, provider });
  }

  /** @throws PortcullisError the reason why this call was stopped, or must not go on now */
  check(): void {
    const reason = this.#stopped ?? this.#stopReason(this.#subject);
    if (reason) throw reason;
  }

  /** Aborts the call, once. @returns whether this was the time */
  stop(error: PortcullisError): boolean {
    if (this.#stopped || this.#ended) return false;
    this.#stopped = error;
    this.#plan.abort(error);
    return true;
  }

  /** Takes room for so many more bytes of the body, until the flight ends. @throws PortcullisError unavailable */
  takeBytes(bytes: number): void {
    this.#room.takeBytes(bytes);
    this.#bodyBytes += bytes;
  }

  /** Gives the place back, and the room of its body. Ending twice does nothing. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#room.leave(this.#bodyBytes);
  }
}

function clientGone(): PortcullisError {
  return new PortcullisError('client_closed', 'The client went away while it waited.');
}

function overloaded(): PortcullisError {
  return new PortcullisError('unavailable', 'The gate is at its limit of calls in flight: try again shortly.', {
    retryAfterS: 1,
  });
}
