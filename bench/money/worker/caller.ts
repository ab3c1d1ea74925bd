import { setImmediate as turn } from 'node:timers/promises';
import type { Hold, Ledger } from '../../../server/src/budget/ledger.ts';
import type { Attempt } from '../../../server/src/budget/model.ts';
import { noUsage } from '../../../server/src/llm/usage.ts';
import { attempt, worst } from '../../../test/support/ledger.ts';
import { spenderOf, worstAmount } from '../workloads.ts';
import type { Load } from './job.ts';

const deadlineMs = 600_000;

/** One attempt of a call as the gate makes it: held, sent (a turn of the event loop), settled. */
export class Pair {
  readonly #ledger: Ledger;
  readonly #attempt: Attempt;
  readonly #spender: ReturnType<typeof spenderOf>;
  #hold: Hold | null = null;

  constructor(ledger: Ledger, { workload, set, round }: Load, caller: number, call: number) {
    this.#ledger = ledger;
    this.#spender = spenderOf(workload, set, caller, { round, call });
    const { projectId, personId, agentId, keyId, runId, workflow, provider, model } = this.#spender;
    const known = { projectId, personId, agentId, keyId, runId, workflow, provider, modelAsked: model };
    this.#attempt = attempt(known);
  }

  get id(): string {
    return this.#attempt.id;
  }

  /** Where it was held: in memory on a lease, or in the database. */
  get place(): 'leased' | 'committed' {
    return this.#hold !== null && 'leased' in this.#hold.place ? 'leased' : 'committed';
  }

  /** @throws PortcullisError budget_exceeded, unavailable */
  async reserve(): Promise<void> {
    this.#hold = await this.#ledger.reserve({
      attempt: this.#attempt,
      spender: this.#spender,
      worst: worst(worstAmount),
      deadlineMs,
    });
  }

  /** @throws PortcullisError unavailable when the hold lapsed meanwhile */
  async send(): Promise<void> {
    await turn();
    this.#hold?.assertUsable();
  }

  /** @throws PortcullisError unavailable */
  async settle(amount: bigint): Promise<void> {
    if (this.#hold === null) throw new Error('nothing is held');
    const usage = { ...noUsage, output: Number(amount) };
    await this.#ledger.settle(this.#hold, { ...this.#attempt, usage, costUsd: amount });
  }
}
