import { setTimeout as sleep } from 'node:timers/promises';
import { PortcullisError } from '../../base/errors.ts';
import { attemptMsMin } from '../../base/limits.ts';
import { AttemptOrder } from './attempt-order.ts';
import { type CallPlan, countsTokens } from './authorize.ts';
import type { Leave } from './breaker.ts';
import type { Call } from './call.ts';
import { ClientStream } from './client-stream.ts';
import { type Delivery, type Forwarded, forward } from './forward.ts';
import type { ModelGate } from './gate.ts';
import { changeHeaders } from './passing-headers.ts';
import { reserve } from './reserve.ts';
import type { Target } from './routing.ts';
import { settle } from './settle.ts';
import type { AskedCall } from './whole-answer.ts';

/** An attempt that may be made, and what it must tell the breaker of its target. */
interface Permitted {
  readonly plan: CallPlan;
  readonly leave: Leave;
}

/**
 * Calls providers until one answers or no other attempt may be made (decision 0009). Each attempt holds its own worst
 * case and has its own ledger row, and is settled before the next one holds anything. Once the client has some of an
 * answer there is no other attempt.
 * @returns how the last attempt went; the client has not had the end of it yet
 * @throws PortcullisError unavailable when no target may be called, what a reservation or a settlement was refused for,
 * or the reason why the call was ended between two attempts
 */
export async function makeAttempts(gate: ModelGate, asked: AskedCall): Promise<Delivery> {
  const { call, plan: first } = asked;
  const stream = first.streamed ? new ClientStream(call, gate.streamPingMs, changeHeaders(first)) : null;
  const attempts = new Attempts(gate, asked);
  first.route.retries.deposit();
  try {
    let last: Forwarded | null = null;
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

  constructor(gate: ModelGate, asked: AskedCall) {
    this.#gate = gate;
    this.#asked = asked;
    this.#order = new AttemptOrder(asked.plan.route, asked.plan.target, Math.random);
  }

  /**
   * Waits until the next attempt may be made. A target whose breaker is open is passed over, and so is another than the
   * chosen one that cannot take the call.
   * @returns null when none may be made @throws PortcullisError the reason why the call was ended meanwhile
   */
  async next(): Promise<Permitted | null> {
    const { call, plan: first, flight } = this.#asked;
    const { route } = first;
    for (;;) {
      const step = this.#order.next(this.#elapsedMs());
      if (step === null) return null;
      const { target, waitMs, again } = step;
      if (again && !route.retries.take()) {
        this.#gate.metrics.upstreamRetries.inc({ route: route.name, result: 'over_budget' });
        return null;
      }
      if (again) await pause(waitMs, call.signal);
      call.signal.throwIfAborted();
      flight.check();
      const permitted = await this.#permit(target);
      if (permitted === null) {
        this.#order.drop(target);
        continue;
      }
      if (again) this.#gate.metrics.upstreamRetries.inc({ route: route.name, result: 'made' });
      return permitted;
    }
  }

  /** Holds, calls, settles. @throws PortcullisError what `reserve` and `settle` throw */
  async make({ plan, leave }: Permitted, stream: ClientStream | null): Promise<Forwarded> {
    const { call, flight } = this.#asked;
    const { clock } = this.#gate;
    this.#order.tried(plan.target);
    const { totalMs } = plan.target.deadlines;
    // A pause may have lasted longer than it should.
    const spentMs = Math.min(this.#elapsedMs(), totalMs - attemptMsMin);
    this.#beganAt ??= clock.monotonic();
    call.attempted(plan, clock);
    try {
      const reserved = await reserve(this.#gate, call, plan, totalMs - spentMs);
      const forwarded = await forward(this.#gate, { call, plan, reserved, flight, stream, leave, spentMs });
      this.#learn(plan, leave, forwarded);
      await settle(this.#gate, call, plan, reserved, forwarded);
      return forwarded;
    } finally {
      leave.release();
    }
  }

  /** @throws PortcullisError always: no target may be called now */
  refuse(): never {
    const { facts } = this.#asked.plan;
    const retryAfterS = Math.max(1, Math.ceil(Math.min(...this.#restsMs) / 1000));
    throw new PortcullisError(
      'unavailable',
      `What serves "${facts.model.slice(0, 100)}" failed repeatedly or asked for a rest: try again in ${retryAfterS} s.`,
      { retryAfterS, rule: 'breaker' },
    );
  }

  async #permit(target: Target): Promise<Permitted | null> {
    const { call, plan: first } = this.#asked;
    const { operation, dialect } = call.endpoint;
    if (operation === 'count_tokens' && !countsTokens(target, dialect)) return null;
    const breaker = target.breaker(target.model ?? first.facts.model);
    const leave = breaker.enter();
    if (leave === null) {
      this.#restsMs.push(breaker.retryAfterMs);
      return null;
    }
    let plan: CallPlan | null = null;
    try {
      plan = target === first.target ? first : await planAt(first, target, call.signal);
      return plan && { plan, leave };
    } finally {
      if (plan === null) leave.release();
    }
  }

  #learn({ target }: CallPlan, leave: Leave, { failure }: Forwarded): void {
    if (failure === null) return leave.succeed();
    const { blamed, limited, retryAfterMs } = failure;
    if (retryAfterMs !== null) this.#order.rest(target, this.#elapsedMs() + retryAfterMs);
    // What the simulated model is told to play says nothing about it.
    if (blamed && target.provider.kind !== 'sim') leave.fail(limited ? retryAfterMs : null);
  }

  #elapsedMs(): number {
    return this.#beganAt === null ? 0 : this.#gate.clock.monotonic() - this.#beganAt;
  }
}

/** Null where that target cannot say what the call says: it is one of several, and what it lacks is not the caller's fault. */
async function planAt(first: CallPlan, target: Target, signal: AbortSignal): Promise<CallPlan | null> {
  try {
    return await first.at(target);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof PortcullisError && error.code !== 'internal') return null;
    throw error;
  }
}

async function pause(ms: number, signal: Call['signal']): Promise<void> {
  // The reason of the signal is the error of the call; the timer's own would hide it.
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}
