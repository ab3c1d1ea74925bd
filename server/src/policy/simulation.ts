import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { leastId } from '../base/ids.ts';
import {
  simulatedCallsMax,
  simulatedCallsPerPage,
  simulationMsMax,
  simulationsMax,
  simulationTurnMs,
} from '../base/limits.ts';
import { isUnavailable } from '../pg/errors.ts';
import type { CompiledPolicy } from './compiled-policy.ts';
import { type Judgement, judgeCall } from './judgement.ts';
import { type PolicyRecord, type ReadRecord, selectRecords, sumCosts } from './record-store.ts';

export interface SimulationRequest {
  readonly projectId: string;
  /** Compiles what to judge by: when it is this simulation's turn. */
  readonly policy: () => Promise<CompiledPolicy>;
  /** Epoch milliseconds; null is as far back as there are records, and until now. */
  readonly from: number | null;
  readonly until: number | null;
  /** How many of the calls whose verdict changes to tell of. */
  readonly rowsMax: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** A recorded call whose verdict is another one. */
export interface SimulatedCall extends Pick<PolicyRecord, 'requestId' | 'verdict' | 'rule'> {
  /** What was judged. */
  readonly facts: ReadRecord['facts'];
  readonly simulated: Judgement['decision'];
  readonly costUsd: bigint;
}

export interface SimulationTotals {
  readonly calls: number;
  readonly allowed: number;
  readonly denied: number;
  readonly approvals: number;
  /** Passed then, and would not now. */
  readonly newlyBlocked: number;
  /** Refused then, and would pass now. */
  readonly newlyAllowed: number;
  /** What the newly blocked ones cost. */
  readonly blockedCostUsd: bigint;
  readonly evaluationErrors: number;
}

export interface SimulationResult {
  readonly totals: SimulationTotals;
  /** Newest first. */
  readonly calls: readonly SimulatedCall[];
  /** Epoch milliseconds of the oldest call that was judged; null where none was. */
  readonly firstCallAt: number | null;
  /** Older calls were left out: there were too many, or it took too long. */
  readonly truncated: boolean;
  /** The ledger took too long to say what the calls cost: all costs are 0. */
  readonly costsUnknown: boolean;
}

// A call's attempts have ids from before it was judged until it ended, and their clocks may differ.
const attemptsMarginMs = 3_600_000;

/** Judges recorded calls by a document with the code that enforces, one simulation of a project at a time, and giving way to calls. */
export class PolicySimulator {
  readonly #pool: Pool;
  readonly #clock: Clock;
  /** Projects whose simulation is under way. */
  readonly #busy = new Set<string>();

  constructor(pool: Pool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /** @throws PortcullisError unavailable (another one is under way), or the reason of the signal */
  async simulate(request: SimulationRequest): Promise<SimulationResult> {
    const { projectId } = request;
    if (this.#busy.has(projectId) || this.#busy.size >= simulationsMax) {
      throw new PortcullisError('unavailable', 'Another simulation is under way on this server: try again shortly.', {
        retryAfterS: 5,
      });
    }
    this.#busy.add(projectId);
    try {
      return await this.#simulate(request, await request.policy());
    } finally {
      this.#busy.delete(projectId);
    }
  }

  async #simulate(
    { projectId, from, until, rowsMax, signal }: SimulationRequest,
    policy: CompiledPolicy,
  ): Promise<SimulationResult> {
    const tally = new Tally(rowsMax);
    const endAt = this.#clock.monotonic() + simulationMsMax;
    const first = leastId('pol', from ?? 0);
    let before = leastId('pol', until ?? Number.MAX_SAFE_INTEGER);
    let truncated = false;
    for (;;) {
      const page = await selectRecords(this.#pool, projectId, { first, before }, simulatedCallsPerPage);
      await this.#judge(page, policy, tally, signal);
      before = page.at(-1)?.id ?? before;
      if (page.length < simulatedCallsPerPage) break;
      truncated = tally.calls >= simulatedCallsMax || this.#clock.monotonic() > endAt;
      if (truncated) break;
    }
    const costs = await this.#costs(projectId, tally, signal);
    return { ...tally.result(costs ?? new Map()), truncated, costsUnknown: costs === null };
  }

  async #judge(page: readonly ReadRecord[], policy: CompiledPolicy, tally: Tally, signal: AbortSignal): Promise<void> {
    let turnAt = this.#clock.monotonic();
    for (const record of page) {
      tally.add(record, judgeCall(policy, record.facts));
      if (this.#clock.monotonic() - turnAt < simulationTurnMs) continue;
      await nextTurn();
      signal.throwIfAborted();
      turnAt = this.#clock.monotonic();
    }
  }

  /** Null where the ledger takes longer than a statement may. */
  async #costs(
    projectId: string,
    { changed, firstCallAt, lastCallAt }: Tally,
    signal: AbortSignal,
  ): Promise<Map<string, bigint> | null> {
    if (changed.size === 0 || firstCallAt === null || lastCallAt === null) return new Map();
    const time = { fromMs: firstCallAt - attemptsMarginMs, untilMs: lastCallAt + attemptsMarginMs };
    try {
      return await sumCosts(this.#pool, projectId, [...changed], time);
    } catch (error) {
      signal.throwIfAborted();
      if (isUnavailable(error)) return null;
      throw error;
    }
  }
}

/** Adds up what a simulation finds, newest first. */
class Tally {
  readonly #rowsMax: number;
  readonly #rows: Omit<SimulatedCall, 'costUsd'>[] = [];
  readonly #verdicts = { allow: 0, deny: 0, require_approval: 0 };
  readonly #blocked = new Set<string>();
  /** The request ids of calls whose verdict changes in a way that money tells of. */
  readonly changed = new Set<string>();
  #newlyBlocked = 0;
  #newlyAllowed = 0;
  #errors = 0;
  firstCallAt: number | null = null;
  lastCallAt: number | null = null;

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  get calls(): number {
    const { allow, deny, require_approval: approvals } = this.#verdicts;
    return allow + deny + approvals;
  }

  add({ requestId, facts, verdict, rule }: ReadRecord, { decision: simulated, failures }: Judgement): void {
    this.lastCallAt ??= facts.facts.time;
    this.firstCallAt = facts.facts.time;
    this.#verdicts[simulated.outcome]++;
    this.#errors += failures;
    if (simulated.outcome === verdict) return;
    if (verdict === 'allow') {
      this.#newlyBlocked++;
      this.#blocked.add(requestId);
    }
    if (simulated.outcome === 'allow') this.#newlyAllowed++;
    const isShown = this.#rows.length < this.#rowsMax;
    if (isShown) this.#rows.push({ requestId, facts, verdict, rule, simulated });
    if (isShown || verdict === 'allow') this.changed.add(requestId);
  }

  result(costs: ReadonlyMap<string, bigint>): Omit<SimulationResult, 'truncated' | 'costsUnknown'> {
    const { allow: allowed, deny: denied, require_approval: approvals } = this.#verdicts;
    // By request, not by call: what one request cost is told once.
    const blockedCostUsd = [...this.#blocked].reduce((sum, id) => sum + (costs.get(id) ?? 0n), 0n);
    return {
      totals: {
        calls: this.calls,
        allowed,
        denied,
        approvals,
        newlyBlocked: this.#newlyBlocked,
        newlyAllowed: this.#newlyAllowed,
        blockedCostUsd,
        evaluationErrors: this.#errors,
      },
      calls: this.#rows.map((row) => ({ ...row, costUsd: costs.get(row.requestId) ?? 0n })),
      firstCallAt: this.firstCallAt,
    };
  }
}
