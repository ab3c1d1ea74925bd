import { setTimeout as sleep } from 'node:timers/promises';
import { PortcullisError } from '../../base/errors.ts';
import { attemptMsMin } from '../../base/limits.ts';
import { AttemptOrder } from './attempt-order.ts';
import { type CallPlan, countsTokens } from './authorize.ts';
import type { Breaker, Leave } from './breaker.ts';
import type { Call } from './call.ts';
import { boundedQuote, reserveAffordable } from './clamp.ts';
import { ClientStream } from './client-stream.ts';
import { type Forwarded, forward } from './forward.ts';
import type { ModelGate } from './gate.ts';
import { changeHeaders } from './passing-headers.ts';
import type { Quote } from './reserve.ts';
import type { Target } from './routing.ts';
import { settle } from './settle.ts';
import type { AskedCall } from './whole-answer.ts';

/** An attempt that may be made, what it costs at most, and what it must tell the breaker of its target. */
interface Permitted {
  readonly plan: CallPlan;
  readonly quote: Quote;
  /** Null where nothing is learned from it. */
  readonly leave: Leave | null;
}

/** An attempt that was made, and settled. */
export interface Made extends Forwarded {
  /** As it was made: at which target, and with which output limit. */
  readonly plan: CallPlan;
}

/**
 * Calls providers until one answers or no other attempt may be made (decision 0009). Each attempt holds its own worst
 * case and has its own ledger row, and is settled before the next one holds anything. Once the client has some of an
 * answer there is no other attempt.
 * @returns how the last attempt went; the client has not had the end of it yet
 * @throws PortcullisError unavailable when no target may be called, what a reservation or a settlement was refused for,
 * or the reason why the call was ended between two attempts
 */
export async function makeAttempts(gate: ModelGate, asked: AskedCall): Promise<Made> {
  const { call, plan: first } = asked;
  const stream = first.streamed ? new ClientStream(call, gate.streamPingMs) : null;
  const attempts = new Attempts(gate, asked);
  first.route.retries.deposit();
  try {
    let last: Made | null = null;
    for (;;) {
      const permitted = await attempts.next();
      if (permitted === null) return last ?? attempts.refuse();
      last = await attempts.make(permitted, stream);
      if (last.failure?.retriable !== true) return last;
    }
  } finally {
    stream?.stop();
  }
}

/** The attempts of one call. */
class Attempts {
  readonly #gate: ModelGate;
  readonly #asked: AskedCall;
  readonly #order: AttemptOrder;
  /** Monotonic milliseconds at which the first attempt began; null before. */
  #beganAt: number | null = null;
  /** When the targets that were passed over may be called again, in milliseconds from then. */
  readonly #restsMs: number[] = [];
  /** Why a target must not be called at all. */
  #stopped: PortcullisError | null = null;

  constructor(gate: ModelGate, asked: AskedCall) {
    this.#gate = gate;
    this.#asked = asked;
    this.#order = new AttemptOrder(asked.plan.route, asked.plan.target, Math.random);
  }

  /**
   * Waits until the next attempt may be made. A target is passed over whose provider is stopped or whose breaker is open,
   * and so is another than the chosen one that cannot take the call.
   * @returns null when none may be made @throws PortcullisError the reason why the call was ended meanwhile
   */
  async next(): Promise<Permitted | null> {
    const { call } = this.#asked;
    try {
      return await this.#next();
    } catch (error) {
      // The attempt before is settled: what ends the call now is no part of it.
      if (call.attempts > 0) call.beginRow(this.#gate.clock);
      throw error;
    }
  }

  /** Holds, calls, settles. @throws PortcullisError what `reserve` and `settle` throw */
  async make({ leave, ...quoted }: Permitted, stream: ClientStream | null): Promise<Made> {
    const { call, flight } = this.#asked;
    const { clock } = this.#gate;
    const { plan: asked } = quoted;
    this.#order.tried(asked.target);
    const { totalMs } = asked.target.deadlines;
    // A pause may have lasted longer than it should.
    const spentMs = Math.min(this.#elapsedMs(), totalMs - attemptMsMin);
    this.#beganAt ??= clock.monotonic();
    call.attempted(asked, clock);
    flight.headFor(asked.target.provider.name);
    try {
      const { plan, reserved } = await reserveAffordable(this.#gate, call, quoted, totalMs - spentMs);
      if (stream) stream.earlyHeaders = changeHeaders(plan);
      const forwarded = await forward(this.#gate, { call, plan, reserved, flight, stream, leave, spentMs });
      this.#learn(plan, leave, forwarded);
      const settled = settle(this.#gate, call, plan, reserved, forwarded);
      // A stream that was ended has no end that would have to wait for its money, and must be seen to end.
      if (stream !== null && call.signal.aborted) settled.catch((err: unknown) => this.#noteLate(err));
      else await settled;
      return { ...forwarded, plan };
    } finally {
      flight.headFor(null);
      leave?.release();
    }
  }

  /** @throws PortcullisError always: no target may be called now */
  refuse(): never {
    if (this.#stopped && this.#restsMs.length === 0) throw this.#stopped;
    const { facts } = this.#asked.plan;
    const retryAfterS = Math.max(1, Math.ceil(Math.min(...this.#restsMs) / 1000));
    throw new PortcullisError(
      'unavailable',
      `What serves "${facts.model.slice(0, 100)}" failed repeatedly or asked for a rest: try again in ${retryAfterS} s.`,
      { retryAfterS, rule: 'breaker' },
    );
  }

  async #next(): Promise<Permitted | null> {
    const { call, plan: first, flight } = this.#asked;
    const { route } = first;
    for (;;) {
      const step = this.#order.next(this.#elapsedMs());
      if (step === null) return null;
      const { target, waitMs, again } = step;
      const breaker = this.#breakerOf(target);
      if (again) {
        // Neither time nor a retry is spent on what will be closed then.
        if (this.#isShut(breaker, waitMs)) {
          this.#order.drop(target);
          continue;
        }
        if (!route.retries.take()) {
          this.#gate.metrics.upstreamRetries.inc({ route: route.name, result: 'over_budget' });
          return null;
        }
        // Who stops that provider must not wait for it.
        flight.headFor(target.provider.name);
        await pause(waitMs, call.signal);
        flight.headFor(null);
      }
      call.signal.throwIfAborted();
      flight.check();
      const stopped = flight.whyNotTo(target.provider.name);
      this.#stopped ??= stopped;
      const permitted = stopped ? null : await this.#permit(target, breaker);
      if (permitted === null) {
        this.#order.drop(target);
        continue;
      }
      if (again) this.#gate.metrics.upstreamRetries.inc({ route: route.name, result: 'made' });
      return permitted;
    }
  }

  async #permit(target: Target, breaker: Breaker | null): Promise<Permitted | null> {
    const { principal } = this.#asked;
    if (this.#isShut(breaker, 0)) return null;
    const leave = breaker?.enter(`${principal.kind} ${principal.id}`) ?? null;
    let planned: Pick<Permitted, 'plan' | 'quote'> | null = null;
    try {
      planned = await this.#planAt(target);
      return planned && { ...planned, leave };
    } finally {
      if (planned === null) leave?.release();
    }
  }

  /** Whether a target lets nobody in, and still will not so many milliseconds from now. */
  #isShut(breaker: Breaker | null, inMs: number): boolean {
    if (breaker === null || breaker.retryAfterMs <= inMs) return false;
    this.#restsMs.push(breaker.retryAfterMs);
    return true;
  }

  /** Null where the target is not the breaker's concern: it counts tokens, or plays what it is told to. */
  #breakerOf({ provider, model, breaker }: Target): Breaker | null {
    const { call, plan } = this.#asked;
    const isJudged = call.endpoint.operation !== 'count_tokens' && provider.kind !== 'sim';
    return isJudged ? breaker(model ?? plan.facts.model) : null;
  }

  /** Null where that target cannot take the call: it is one of several, and what it lacks is not the caller's fault. */
  async #planAt(target: Target): Promise<Pick<Permitted, 'plan' | 'quote'> | null> {
    const { call, plan: first } = this.#asked;
    const { operation, dialect } = call.endpoint;
    if (operation === 'count_tokens' && !countsTokens(target, dialect)) return null;
    try {
      const plan = target === first.target ? first : await first.at(target);
      return await boundedQuote(this.#gate, call, plan);
    } catch (error) {
      call.signal.throwIfAborted();
      const isLastWord = target === first.target && call.attempts === 0;
      if (!isLastWord && error instanceof PortcullisError && error.code !== 'internal') return null;
      throw error;
    }
  }

  #learn({ target }: CallPlan, leave: Leave | null, { failure }: Forwarded): void {
    if (failure === null) return leave?.succeed();
    const { blame, onlyElsewhere, retryAfterMs } = failure;
    if (onlyElsewhere) this.#order.drop(target);
    if (retryAfterMs !== null) this.#order.rest(target, this.#elapsedMs() + retryAfterMs);
    if (blame !== null) leave?.fail(blame);
  }

  #noteLate(err: unknown): void {
    const { requestId } = this.#asked.call.exchange;
    this.#gate.log.warn({ err, request_id: requestId }, 'the settlement of a stream that was ended is late');
  }

  #elapsedMs(): number {
    return this.#beganAt === null ? 0 : this.#gate.clock.monotonic() - this.#beganAt;
  }
}

async function pause(ms: number, signal: Call['signal']): Promise<void> {
  // The reason of the signal is the error of the call; the timer's own would hide it.
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}
