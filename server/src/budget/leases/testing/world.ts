import fc from 'fast-check';
import { attempt, worst } from '../../../../../test/support/ledger.ts';
import type { Clock } from '../../../base/clock.ts';
import { leaseMs } from '../../../base/limits.ts';
import type { Budget, Shortfall } from '../../model.ts';
import { Placement } from '../../placement.ts';
import { counterName } from '../../store.ts';
import { type Flush, LeaseBook, type LeasedHold } from '../lease-book.ts';
import { resliceAll } from '../reslice-all.ts';
import type { Slice } from '../slice.ts';

// Every order of what several processes and a database can do, played without either: the book is the real one, and so
// are the rules by which a flush is booked; the database is three maps and its transactions are single steps.

/** One thing that happens; `pick` chooses of what there is. */
export interface Step {
  readonly kind:
    | 'hold'
    | 'end'
    | 'strict'
    | 'begin'
    | 'commit'
    | 'flush'
    | 'lose'
    | 'hear'
    | 'expire'
    | 'crash'
    | 'pass';
  readonly process: number;
  readonly amount: number;
  /** Per cent of what was held. */
  readonly percent: number;
  readonly pick: number;
}

const weights = {
  hold: 14,
  end: 8,
  strict: 2,
  begin: 4,
  commit: 4,
  hear: 4,
  flush: 8,
  lose: 1,
  expire: 1,
  crash: 1,
  pass: 3,
};

export const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Step['kind']) })),
  ),
  process: fc.nat(2),
  amount: fc.integer({ min: 0, max: 60 }),
  percent: fc.oneof(
    { weight: 8, arbitrary: fc.nat(100) },
    { weight: 1, arbitrary: fc.integer({ min: 101, max: 250 }) },
  ),
  pick: fc.nat(99),
});

const noSelector = { teamId: null, personId: null, agentId: null, keyId: null, workflow: null, runId: null };
const everything = { ...noSelector, providerType: null, provider: null, model: null };

function budget(id: string, limit: bigint): Budget {
  const rest = { projectId: 'prj', name: id, selector: everything, unit: 'usd', window: 'lifetime' } as const;
  return { ...rest, id, timeZone: 'UTC', limit, mode: 'enforce' };
}

interface Counter {
  readonly limit: bigint;
  posted: bigint;
  held: bigint;
  leased: bigint;
  /** What the ledger's rows say, as far as they were told. */
  told: bigint;
}

/** A process: its book, its holds, and a flush that is on its way. */
class Process {
  readonly clock: Clock & { ms: number } = { ms: 0, now: () => 0, monotonic: () => this.clock.ms };
  readonly book = new LeaseBook(this.clock, new Placement(() => 0));
  readonly holds: { readonly held: LeasedHold; readonly usd: bigint }[] = [];
  flush: Flush | null = null;
  committed: ReadonlyMap<Slice, bigint | null> | null = null;
}

export class World {
  readonly budgets = [budget('wide', 40_000n), budget('narrow', 2_000n)];
  readonly counters = new Map(
    this.budgets.map(({ id, limit }): [string, Counter] => [
      counterName({ budgetId: id, windowKey: 'lifetime' }),
      { limit: limit ?? 0n, posted: 0n, held: 0n, leased: 0n, told: 0n },
    ]),
  );
  /** By process and epoch. */
  readonly leases = new Map<Process, Map<bigint, { readonly counter: string; granted: bigint }>>();
  readonly postings = new Map<Process, Map<bigint, { readonly counter: string; amount: bigint }>>();
  readonly processes = [new Process(), new Process(), new Process()];
  readonly strict: { readonly counters: readonly string[]; readonly usd: bigint }[] = [];
  readonly everyone = [...this.processes];
  /** What really was spent, and the part of it that was beyond its hold. */
  truth = 0n;
  overruns = 0n;

  play({ kind, process, amount, percent, pick }: Step): void {
    const one = this.#process(process);
    const usd = BigInt(amount);
    const spent = (held: bigint) => (held * BigInt(percent)) / 100n;
    if (kind === 'hold') {
      const request = { attempt: attempt(), worst: worst(usd), budgets: this.budgets, deadlineMs: 1 };
      const held = one.book.hold(request);
      if (held) one.holds.push({ held, usd });
      else if (pick % 10 === 0) one.book.yield(request, this.#shortfalls(usd));
      else one.book.wish(request);
    } else if (kind === 'end') {
      const [ended] = one.holds.splice(pick % Math.max(1, one.holds.length), 1);
      if (!ended) return;
      const cost = spent(ended.usd);
      this.truth += cost;
      this.overruns += cost > ended.usd ? cost - ended.usd : 0n;
      const nothing = { tokens: 0n, requests: 0n, concurrent_requests: 0n, latency_ms: 0n };
      one.book.end(ended.held, { usd: cost, ...nothing }, { id: 'att' } as never);
    } else if (kind === 'strict') this.#strict(usd, spent(usd), pick);
    else if (kind === 'begin') this.#begin(one);
    else if (kind === 'flush') {
      this.#begin(one);
      this.#commit(one);
      this.#hear(one);
    } else if (kind === 'commit') this.#commit(one);
    else if (kind === 'lose') {
      // The answer was lost: the process says the same again, and hears what was committed.
      if (one.committed) one.committed = this.#leftOf(one);
    } else if (kind === 'hear') this.#hear(one);
    else if (kind === 'expire') {
      // It is over here before it is over there.
      one.clock.ms += leaseMs;
      this.#expire(one);
    } else if (kind === 'pass') one.clock.ms += amount * 100;
    else this.#crash(process);
  }

  #begin(one: Process): void {
    one.flush ??= one.book.takeFlush(1_000);
  }

  #strict(usd: bigint, cost: bigint, pick: number): void {
    const [ended] = pick % 2 === 0 ? this.strict.splice(pick % Math.max(1, this.strict.length), 1) : [];
    if (ended) {
      for (const name of ended.counters) {
        const counter = this.#counter(name);
        counter.held -= ended.usd;
        counter.posted += cost < ended.usd ? cost : ended.usd;
        counter.told += cost < ended.usd ? cost : ended.usd;
      }
      this.truth += cost < ended.usd ? cost : ended.usd;
      return;
    }
    const all = [...this.counters];
    if (!all.every(([, { limit, posted, held }]) => posted + held + usd <= limit)) return;
    for (const [, counter] of all) counter.held += usd;
    this.strict.push({ counters: all.map(([name]) => name), usd });
  }

  #commit(one: Process): void {
    if (!one.flush || one.committed) return;
    const mine = this.leases.get(one) ?? new Map<bigint, { counter: string; granted: bigint }>();
    const posted = this.postings.get(one) ?? new Map<bigint, { counter: string; amount: bigint }>();
    this.leases.set(one, mine);
    const found = {
      left: new Map([...mine].map(([epoch, { granted }]) => [epoch, granted])),
      counters: this.counters,
      postings: new Map([...posted].map(([epoch, { amount }]) => [epoch, amount])),
    };
    const resliced = resliceAll(one.flush.reports, found);
    for (const { slice, change } of resliced) {
      const name = counterName(slice.key);
      const counter = this.#counter(name);
      counter.posted += change.posted;
      counter.held += change.held;
      counter.leased += change.leased;
      const back = posted.get(slice.epoch);
      if (back) back.amount -= change.takenBack;
      counter.told += change.posted + change.takenBack;
      if (change.granted !== null && change.granted > 0n)
        mine.set(slice.epoch, { counter: name, granted: change.granted });
      else mine.delete(slice.epoch);
    }
    one.committed = new Map(resliced.map(({ slice, change }) => [slice, change.granted]));
  }

  #leftOf(one: Process): ReadonlyMap<Slice, bigint | null> {
    const mine = this.leases.get(one);
    return new Map(
      [...(one.flush?.reports.keys() ?? [])].map((slice) => [slice, mine?.get(slice.epoch)?.granted ?? null]),
    );
  }

  #hear(one: Process): void {
    if (!one.flush || !one.committed) return;
    for (const slice of one.flush.reports.keys())
      slice.flushed(one.committed.get(slice) ?? null, one.flush.askedAt + leaseMs);
    one.book.tidy();
    one.flush = null;
    one.committed = null;
  }

  /** The database's clock says that the slices of a process are over, and somebody sweeps. */
  #expire(one: Process): void {
    const mine = this.leases.get(one);
    if (!mine) return;
    const posted = this.postings.get(one) ?? new Map<bigint, { counter: string; amount: bigint }>();
    this.postings.set(one, posted);
    for (const [epoch, { counter: name, granted }] of mine) {
      const counter = this.#counter(name);
      counter.held -= granted;
      counter.leased -= granted;
      counter.posted += granted;
      posted.set(epoch, { counter: name, amount: granted });
    }
    mine.clear();
  }

  #crash(process: number): void {
    this.#expire(this.#process(process));
    this.processes[process] = new Process();
    this.everyone.push(this.processes[process]);
  }

  /** Everybody alive ends what is in flight, tells all and gives all back; the dead are posted. */
  finish(): void {
    for (const one of this.processes) {
      for (const { held } of one.holds.splice(0)) {
        one.book.end(held, { usd: 0n, tokens: 0n, requests: 0n, concurrent_requests: 0n, latency_ms: 0n }, {
          id: 'att',
        } as never);
      }
      one.book.close();
      for (let i = 0; i < 10; i++) {
        one.flush ??= one.book.takeFlush(1_000);
        this.#commit(one);
        this.#hear(one);
      }
      this.#expire(one);
    }
    while (this.strict.length > 0) this.#strict(0n, 0n, 0);
  }

  /** @throws Error naming what does not hold */
  check(): void {
    const leases = [...this.leases.values()].flatMap((mine) => [...mine.values()]);
    for (const one of this.processes) this.#checkInUse(one);
    for (const [name, { limit, posted, held, leased, told }] of this.counters) {
      must(posted + held <= limit + this.overruns, `${name} is over its limit`);
      const granted = leases.reduce((sum, lease) => sum + (lease.counter === name ? lease.granted : 0n), 0n);
      must(leased === granted, `${name} says that ${leased} is leased, and ${granted} is`);
      const strictly = this.strict.reduce((sum, { usd }) => sum + usd, 0n);
      must(held === leased + strictly, `${name} holds ${held}, not ${leased} leased and ${strictly} in rows`);
      const known = told + this.#estimated(name);
      must(posted === known, `${name} has ${posted} posted, and rows and postings say ${known}`);
    }
  }

  /** @throws Error naming what does not hold when all is over */
  checkEnd(): void {
    this.check();
    for (const [name, { posted, held, leased }] of this.counters) {
      must(held === 0n && leased === 0n, `${name} holds ${held} for nobody, ${leased} of it leased`);
      // Nothing that was spent is missing, but overruns that died with their process.
      must(posted + this.overruns >= this.truth, `${name} has ${posted} posted of ${this.truth}`);
      must(this.#estimated(name) >= 0n, `${name} had more taken back than was posted`);
    }
  }

  /** What a process uses of a slice is within what the database has leased to it. */
  #checkInUse(one: Process): void {
    for (const { held } of one.holds) {
      for (const { slice } of held.parts) {
        // What was posted whole is not ours to use, and is known as lost with the next flush.
        if (slice.isLost || this.postings.get(one)?.has(slice.epoch)) continue;
        const granted = this.leases.get(one)?.get(slice.epoch)?.granted ?? 0n;
        const told = one.committed === null ? 0n : (one.flush?.reports.get(slice)?.spent ?? 0n);
        must(slice.inUse - told <= granted + this.overruns, `${slice.inUse - told} of a slice of ${granted} is in use`);
      }
    }
  }

  /** What budgets would say that refuse a call of so much. */
  #shortfalls(amount: bigint): Shortfall[] {
    return this.budgets.flatMap((budget) => {
      const { limit, posted, held, leased } = this.#counter(
        counterName({ budgetId: budget.id, windowKey: 'lifetime' }),
      );
      const meter = { budget, posted, held, leased, accumulates: true, endsAt: null };
      return posted + held + amount > limit ? [{ meter, amount, observed: posted + held, limit }] : [];
    });
  }

  #process(index: number): Process {
    const one = this.processes[index];
    if (!one) throw new Error(`there is no process ${index}`);
    return one;
  }

  #counter(name: string): Counter {
    const counter = this.counters.get(name);
    if (!counter) throw new Error(`there is no counter ${name}`);
    return counter;
  }

  #estimated(name: string): bigint {
    return [...this.postings.values()]
      .flatMap((posted) => [...posted.values()])
      .reduce((sum, { counter, amount }) => sum + (counter === name ? amount : 0n), 0n);
  }
}

function must(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}
