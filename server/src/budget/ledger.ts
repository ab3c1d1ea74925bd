import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { callAmountMax } from '../base/limits.ts';
import type { NanoUsd } from '../base/money.ts';
import { noUsage } from '../llm/usage.ts';
import type { BudgetIndex } from './budget-index.ts';
import { totalTokens } from './prices/cost.ts';
import type { Instance } from './instances.ts';
import { type LedgerRow, ledgerRow } from './ledger-row.ts';
import { LeaseBook, type LeasedHold } from './leases/lease-book.ts';
import { LeaseKeeper } from './leases/lease-keeper.ts';
import { Placement } from './placement.ts';
import type { Attempt, HoldRequest, ShadowVerdict, Spender, WorstCase } from './model.ts';
import type { Granted } from './lane-queue.ts';
import { MoneyLane } from './lane.ts';
import { BudgetExceeded } from './refusal.ts';
import type { CounterKey, EndingRow } from './store.ts';
import type { TouchedCounters } from './touched-counters.ts';

export interface LedgerOptions {
  readonly pool: Pool;
  readonly instance: Instance;
  readonly budgets: BudgetIndex;
  /** `relaxed` holds in memory on leased slices where it can (decision 0015). */
  readonly durabilityOf: (projectId: string) => 'strict' | 'relaxed';
  /** Told of each counter on which something was posted. */
  readonly touched: TouchedCounters;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Reservation {
  /** As far as it is known; its id is the hold's. */
  readonly attempt: Attempt;
  readonly spender: Spender;
  readonly worst: WorstCase;
  /** The longest that the call may take, in milliseconds. */
  readonly deadlineMs: number;
}

/** Money that is reserved for one attempt. */
export class Hold {
  readonly id: string;
  readonly worst: WorstCase;
  readonly shadowVerdicts: readonly ShadowVerdict[];
  /** Where it is held: as a row of the database, or in memory on slices that this process leased. */
  readonly place: { readonly counters: readonly CounterKey[] } | { readonly leased: LeasedHold };
  /** Monotonic milliseconds; a lease that is renewed moves it. */
  readonly #usableUntil: () => number;
  readonly #clock: Clock;
  #isEnded = false;

  constructor(
    { attempt, worst }: Reservation,
    place: Hold['place'],
    shadowVerdicts: readonly ShadowVerdict[],
    usableUntil: () => number,
    clock: Clock,
  ) {
    this.id = attempt.id;
    this.worst = worst;
    this.place = place;
    this.shadowVerdicts = shadowVerdicts;
    this.#usableUntil = usableUntil;
    this.#clock = clock;
  }

  /** @returns whether it has not ended yet; from now on it has */
  takeEnd(): boolean {
    const first = !this.#isEnded;
    this.#isEnded = true;
    return first;
  }

  /**
   * To be called in the tick of the upstream write: a process that slept may have lost the hold meanwhile.
   * @throws PortcullisError unavailable
   */
  assertUsable(): void {
    if (this.#clock.monotonic() < this.#usableUntil()) return;
    throw new PortcullisError(
      'unavailable',
      'The reservation of this call is too old to be used: nothing was sent. Try again.',
    );
  }
}

/** Reserve, settle, release: the ledger of every upstream attempt, exact in any number of processes. */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #lane: MoneyLane;
  readonly #book: LeaseBook;
  readonly #keeper: LeaseKeeper;

  constructor(options: LedgerOptions) {
    this.#options = options;
    const { pool, instance, clock, touched, log } = options;
    const placement = new Placement(() => instance.databaseNow());
    const instanceId = instance.id;
    this.#lane = new MoneyLane({
      pool,
      instanceId,
      placement,
      endingInDoubt: ({ attempt }) => released(attempt, 0n, []),
      log,
    });
    this.#book = new LeaseBook(clock, placement);
    const writeAlone = (row: LedgerRow) => this.#lane.record({ holdId: null, usd: 0n, tokens: 0n, requests: 0, row });
    this.#keeper = new LeaseKeeper({ pool, instanceId, book: this.#book, clock, touched, writeAlone, log });
    this.#keeper.start();
  }

  /**
   * Holds the worst case on every budget that counts the call, or on none; durable when it resolves. A refused call's
   * ledger row is the caller's to record.
   * @throws PortcullisError budget_exceeded, unavailable, invalid_argument
   */
  async reserve(reservation: Reservation): Promise<Hold> {
    const { budgets, clock, instance, durabilityOf } = this.#options;
    const { attempt, spender, worst, deadlineMs } = reservation;
    if (worst.usd > callAmountMax || worst.tokens > callAmountMax) {
      throw new PortcullisError(
        'invalid_argument',
        'What this call could use at most is more than can be counted (10^15 nano-USD or tokens): ask for less.',
      );
    }
    const askedAt = clock.monotonic();
    const until = askedAt + deadlineMs;
    const request = { attempt, worst, budgets: budgets.matching(spender), deadlineMs };
    const isRelaxed = durabilityOf(spender.projectId) === 'relaxed';
    const leased = isRelaxed ? this.#book.hold(request) : null;
    if (leased) {
      const usableUntil = () => Math.min(until, this.#book.usableUntil(leased));
      return new Hold(reservation, { leased }, [], usableUntil, clock);
    }
    const { counters, shadowVerdicts } = isRelaxed ? await this.#holdBeside(request) : await this.#lane.hold(request);
    const aliveUntil = Math.min(until, instance.aliveUntil);
    return new Hold(reservation, { counters }, shadowVerdicts, () => aliveUntil, clock);
  }

  /** The strict path of a relaxed call. What it lacks may be what this very process has leased and does not use. */
  async #holdBeside(request: HoldRequest): Promise<Granted> {
    let granted: Granted;
    try {
      granted = await this.#lane.hold(request);
    } catch (error) {
      if (!(error instanceof BudgetExceeded) || !this.#book.yield(request, error.shortfalls)) throw error;
      await this.#keeper.flushed();
      granted = await this.#lane.hold(request);
    }
    this.#book.wish(request);
    return granted;
  }

  /**
   * Replaces the hold by what `attempt` used, though it be more (an overrun), and writes its ledger row. Fees of server
   * tools are added at their most, which makes the cost an estimate: no provider reports them with the tokens. `shadows`
   * are verdicts of dry-run budgets that were known only at the end.
   * @throws PortcullisError unavailable when that is not durable in time; it may be later
   */
  async settle(hold: Hold, attempt: Attempt, shadows: readonly ShadowVerdict[] = []): Promise<void> {
    const { worst, shadowVerdicts } = hold;
    const [costUsd, tokens] = [countable(attempt.costUsd + worst.feesUsd), countable(totalTokens(attempt.usage))];
    const isExact = worst.feesUsd === 0n && costUsd === attempt.costUsd;
    const provenance = isExact ? attempt.provenance : 'estimated';
    const overrun = worst.bounded && (costUsd > worst.usd || tokens > worst.tokens);
    const row = ledgerRow({ ...attempt, costUsd, provenance, overrun }, worst.usd, [...shadowVerdicts, ...shadows]);
    await this.#end(hold, { holdId: hold.id, usd: costUsd, tokens, requests: 1, row });
  }

  /**
   * Gives the hold back, since nothing was sent or nothing is billed, and writes the attempt's ledger row without any cost.
   * @throws PortcullisError unavailable when that is not durable in time; it may be later
   */
  async release(hold: Hold, attempt: Attempt, shadows: readonly ShadowVerdict[] = []): Promise<void> {
    const verdicts = [...hold.shadowVerdicts, ...shadows];
    await this.#end(hold, { ...released(attempt, hold.worst.usd, verdicts), holdId: hold.id });
  }

  /** Writes, soon, the ledger row of a call that was refused before it had a hold. */
  recordRefusal(attempt: Attempt): void {
    this.#lane.record({ ...released(attempt, 0n, []), holdId: null });
  }

  /** Gives leases back, and waits until everything under way is written, `graceMs` at most for each of both. */
  async stop(graceMs: number): Promise<void> {
    await this.#keeper.stop(graceMs);
    await this.#lane.stop(graceMs);
  }

  async #end(hold: Hold, ending: EndingRow): Promise<void> {
    const { place } = hold;
    if ('leased' in place) {
      if (!hold.takeEnd()) return;
      const { usd, tokens, requests, row } = ending;
      this.#book.end(
        place.leased,
        { usd, tokens, requests: BigInt(requests), concurrent_requests: 0n, latency_ms: 0n },
        row,
      );
      return;
    }
    await this.#lane.end(ending);
    for (const { budgetId, windowKey } of place.counters) this.#options.touched.note(budgetId, windowKey);
  }
}

/** A provider may claim anything; one absurd figure must not spoil the sums of everybody. */
function countable(amount: bigint): bigint {
  return amount > callAmountMax ? callAmountMax : amount;
}

function released(attempt: Attempt, heldUsd: NanoUsd, shadowVerdicts: readonly ShadowVerdict[]): EndingRow {
  const free: Attempt = {
    ...attempt,
    usage: noUsage,
    costUsd: 0n,
    notionalUsd: 0n,
    provenance: 'measured',
    overrun: false,
  };
  return {
    holdId: attempt.id,
    usd: 0n,
    tokens: 0n,
    requests: 0,
    row: ledgerRow(free, heldUsd, shadowVerdicts),
  };
}
