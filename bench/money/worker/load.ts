import { setTimeout as sleep } from 'node:timers/promises';
import { PortcullisError } from '../../../server/src/base/errors.ts';
import type { Ledger } from '../../../server/src/budget/ledger.ts';
import { Histogram } from '../../harness/histogram.ts';
import { trueAmount, worstAmount } from '../workloads.ts';
import { Pair } from './caller.ts';
import type { BurstResult, Load, LoadResult } from './job.ts';

// What is refused must not be hammered.
const pauseMs = 10;

/** Callers that each make one pair after the other, until they are stopped. What began before the mark does not count. */
export class ClosedLoop {
  readonly #ledger: Ledger;
  readonly #load: Load;
  readonly #callers: readonly Promise<void>[];
  #isOver = false;
  #tally = newTally();
  #settled = 0;
  #lastIds: LoadResult['lastIds'] = {};

  constructor(ledger: Ledger, load: Load) {
    this.#ledger = ledger;
    this.#load = load;
    const { callersPerProcess } = load.workload;
    this.#callers = Array.from({ length: callersPerProcess }, (_, index) => this.#caller(load.firstCaller + index));
  }

  mark(): void {
    this.#tally = newTally();
  }

  async stop(): Promise<LoadResult> {
    this.#isOver = true;
    await Promise.all(this.#callers);
    const { hold, settle, ...tally } = this.#tally;
    return { ...tally, settled: this.#settled, lastIds: this.#lastIds, hold: hold.counts, settle: settle.counts };
  }

  async #caller(number: number): Promise<void> {
    let call = 0;
    while (!this.#isOver) await this.#call(new Pair(this.#ledger, this.#load, number, call++), this.#tally);
  }

  async #call(pair: Pair, tally: ReturnType<typeof newTally>): Promise<void> {
    try {
      const askedMs = performance.now();
      await pair.reserve();
      const heldMs = performance.now();
      await pair.send();
      const endedMs = performance.now();
      await pair.settle(trueAmount);
      tally.hold.add(heldMs - askedMs);
      tally.settle.add(performance.now() - endedMs);
      tally.pairs += 1;
      this.#settled += 1;
      this.#lastIds = { ...this.#lastIds, [pair.place]: pair.id };
    } catch (error) {
      tally.failed += 1;
      tally.firstError ??= String(error);
      await sleep(pauseMs);
    }
  }
}

function newTally() {
  return { pairs: 0, failed: 0, firstError: null as string | null, hold: new Histogram(), settle: new Histogram() };
}

/** So many calls from each caller, whose costs are equal and known beforehand; those that a budget refuses are counted. */
export async function burst(ledger: Ledger, load: Load, callsPerCaller: number): Promise<BurstResult> {
  const admittedAskedUs: number[] = [];
  const refusedUs: number[] = [];
  let failed = 0;
  let firstError: string | null = null;
  async function caller(number: number): Promise<void> {
    for (let call = 0; call < callsPerCaller; call += 1) {
      const askedUs = nowUs();
      const pair = new Pair(ledger, load, number, call);
      try {
        await pair.reserve();
        await pair.send();
        await pair.settle(worstAmount);
        admittedAskedUs.push(askedUs);
      } catch (error) {
        if (error instanceof PortcullisError && error.code === 'budget_exceeded') refusedUs.push(nowUs());
        else {
          failed += 1;
          firstError ??= String(error);
        }
      }
    }
  }
  await Promise.all(
    Array.from({ length: load.workload.callersPerProcess }, (_, index) => caller(load.firstCaller + index)),
  );
  return { admittedAskedUs, refusedUs, failed, firstError };
}

/** The clock that all processes of a machine share. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
