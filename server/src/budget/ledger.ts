import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type NanoUsd, maxAmount } from '../base/money.ts';
import { noUsage } from '../llm/usage.ts';
import type { BudgetIndex } from './budget-index.ts';
import { totalTokens } from './prices/cost.ts';
import type { Instance } from './instances.ts';
import { ledgerRow } from './ledger-row.ts';
import type { Attempt, ShadowVerdict, Spender, WorstCase } from './model.ts';
import type { Granted } from './lane-queue.ts';
import { MoneyLane } from './lane.ts';
import type { CounterKey, EndingRow } from './store.ts';
import type { TouchedCounters } from './touched-counters.ts';

export interface LedgerOptions {
  readonly pool: Pool;
  readonly instance: Instance;
  readonly budgets: BudgetIndex;
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
  /** What it stands on. */
  readonly counters: readonly CounterKey[];
  /** Monotonic milliseconds. */
  readonly usableUntil: number;
  readonly #clock: Clock;

  constructor(reservation: Reservation, granted: Granted, usableUntil: number, clock: Clock) {
    this.id = reservation.attempt.id;
    this.worst = reservation.worst;
    this.shadowVerdicts = granted.shadowVerdicts;
    this.counters = granted.counters;
    this.usableUntil = usableUntil;
    this.#clock = clock;
  }

  /**
   * To be called in the tick of the upstream write: a process that slept may have lost the hold meanwhile.
   * @throws PortcullisError unavailable
   */
  assertUsable(): void {
    if (this.#clock.monotonic() < this.usableUntil) return;
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

  constructor(options: LedgerOptions) {
    this.#options = options;
    const { pool, instance, log } = options;
    this.#lane = new MoneyLane({
      pool,
      instanceId: instance.id,
      databaseNow: () => instance.databaseNow(),
      endingInDoubt: ({ attempt }) => released(attempt, 0n, []),
      log,
    });
  }

  /**
   * Holds the worst case on every budget that counts the call, or on none; durable when it resolves. A refused call's
   * ledger row is the caller's to record.
   * @throws PortcullisError budget_exceeded, unavailable, invalid_argument
   */
  async reserve(reservation: Reservation): Promise<Hold> {
    const { budgets, clock, instance } = this.#options;
    const { attempt, spender, worst, deadlineMs } = reservation;
    if (worst.usd > maxAmount || worst.tokens > maxAmount) {
      throw new PortcullisError(
        'invalid_argument',
        'What this call could use at most is more than can be counted: ask for less.',
      );
    }
    const askedAt = clock.monotonic();
    const granted = await this.#lane.hold({ attempt, worst, budgets: budgets.matching(spender), deadlineMs });
    return new Hold(reservation, granted, Math.min(askedAt + deadlineMs, instance.aliveUntil), clock);
  }

  /**
   * Replaces the hold by what `attempt` used, though it be more (an overrun), and writes its ledger row. Fees of server
   * tools are added at their most, which makes the cost an estimate: no provider reports them with the tokens. `shadows`
   * are verdicts of dry-run budgets that were known only at the end.
   * @throws PortcullisError unavailable when that is not durable in time; it may be later
   */
  async settle(hold: Hold, attempt: Attempt, shadows: readonly ShadowVerdict[] = []): Promise<void> {
    const { worst, shadowVerdicts, counters } = hold;
    const tokens = totalTokens(attempt.usage);
    const costUsd = attempt.costUsd + worst.feesUsd;
    const provenance = worst.feesUsd > 0n ? 'estimated' : attempt.provenance;
    const overrun = worst.bounded && (costUsd > worst.usd || tokens > worst.tokens);
    await this.#lane.end({
      holdId: hold.id,
      usd: costUsd,
      tokens,
      requests: 1,
      row: ledgerRow({ ...attempt, costUsd, provenance, overrun }, worst.usd, [...shadowVerdicts, ...shadows]),
    });
    for (const { budgetId, windowKey } of counters) this.#options.touched.note(budgetId, windowKey);
  }

  /**
   * Gives the hold back, since nothing was sent or nothing is billed, and writes the attempt's ledger row without any cost.
   * @throws PortcullisError unavailable when that is not durable in time; it may be later
   */
  async release(hold: Hold, attempt: Attempt): Promise<void> {
    await this.#lane.end({ ...released(attempt, hold.worst.usd, hold.shadowVerdicts), holdId: hold.id });
  }

  /** Writes, soon, the ledger row of a call that was refused before it had a hold. */
  recordRefusal(attempt: Attempt): void {
    this.#lane.record({ ...released(attempt, 0n, []), holdId: null });
  }

  /** Waits until everything under way is written, `graceMs` at most. */
  stop(graceMs: number): Promise<void> {
    return this.#lane.stop(graceMs);
  }
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
