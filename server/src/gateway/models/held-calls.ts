import type { Pool } from 'pg';
import { ask } from '../../approval/asking.ts';
import { useGrantAudited } from '../../approval/grants.ts';
import { type Approval, type ApprovalRequest, digestInForce } from '../../approval/model.ts';
import { whatOf } from '../../approval/what.ts';
import { findStandingRejection } from '../../approval/standing-rejection.ts';
import { useApproval } from '../../approval/use.ts';
import type { ApprovalWaits } from '../../approval/waits.ts';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { isUnavailable } from '../../pg/errors.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';

export interface HeldCallsOptions {
  readonly pool: Pool;
  readonly waits: Pick<ApprovalWaits, 'wait'>;
  /** APPROVAL_WAIT_MS. */
  readonly waitMs: number;
  /** Calls that may wait at once in this process: they keep places that others need. */
  readonly maxHeld: number;
}

/** What became of asking: the approval as it stands, or a repeat grant that lets this one through. */
export type AskedFor = Approval | 'granted';

/** What calls that need an approval do with the database, and the room that they may take while they wait. */
export class HeldCalls {
  readonly #options: HeldCallsOptions;
  #held = 0;
  readonly #drained = new AbortController();

  constructor(options: HeldCallsOptions) {
    this.#options = options;
  }

  /** Calls that wait for people now. */
  get size(): number {
    return this.#held;
  }

  /** How long a call may wait in all, in milliseconds. */
  get waitMs(): number {
    return this.#options.waitMs;
  }

  /** From now on no call waits: those that do are told to come back, to another replica. */
  drain(): void {
    this.#drained.abort();
  }

  /** Asks for all of them, or finds what was asked or decided before. @throws PortcullisError unavailable, rate_limited, invalid_argument */
  ask(requests: readonly ApprovalRequest[]): Promise<AskedFor[]> {
    return this.#transact(async (tx) => {
      const asked: AskedFor[] = [];
      for (const request of requests) asked.push(await askOne(tx, request));
      return asked;
    });
  }

  /**
   * Waits until it is decided, without a connection of the database.
   * @returns as it stands when the time is up
   * @throws the reason of the signal
   */
  async wait(approval: Approval, signal: AbortSignal, forMs: number): Promise<Approval> {
    const drained = this.#drained.signal;
    if (forMs <= 0 || drained.aborted || this.#held >= this.#options.maxHeld) return approval;
    this.#held++;
    try {
      return await this.#options.waits.wait(approval.id, AbortSignal.any([signal, drained]), forMs);
    } catch (error) {
      if (drained.aborted && !signal.aborted) return approval;
      if (!isUnavailable(error)) throw error;
      throw unavailable(error);
    } finally {
      this.#held--;
    }
  }

  /** Takes all of them, each of which is possible once, or none. @returns whether it took them */
  async use(approvals: readonly Approval[], requestId: string): Promise<boolean> {
    if (approvals.length === 0) return true;
    try {
      await this.#transact(async (tx) => {
        for (const approval of approvals) await useOne(tx, approval, requestId);
      });
      return true;
    } catch (error) {
      if (error === takenBefore) return false;
      throw error;
    }
  }

  async #transact<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    try {
      return await inTransaction(this.#options.pool, work);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      throw unavailable(error);
    }
  }
}

function unavailable(cause: unknown): PortcullisError {
  return new PortcullisError('unavailable', 'The gate cannot ask for an approval now: try again shortly.', {
    retryAfterS: 1,
    cause,
  });
}

async function askOne(tx: Tx, request: ApprovalRequest): Promise<AskedFor> {
  const { requester, requestId, action, runId, arguments: args, rule } = request;
  const { digest } = whatOf(requester, { action, runId, args });
  const rejection = await findStandingRejection(tx, request, digest);
  if (rejection !== null) return rejection;
  const use = { ...request, digest, requesterId: requester.id, ruleDigest: rule?.digest ?? null };
  if ((await useGrantAudited(tx, use, requestId)) !== null) return 'granted';
  return (await ask(tx, request)).approval;
}

/** @throws {@link takenBefore} */
async function useOne(tx: Tx, approval: Approval, requestId: string): Promise<void> {
  const { id, projectId, requester, rule } = approval;
  const digest = digestInForce(approval);
  if (!(await useApproval(tx, { id, digest, ruleDigest: rule?.digest ?? null }))) throw takenBefore;
  await appendAudit(tx, {
    actor: { kind: requester.kind, id: requester.id },
    action: 'approval.used',
    target: id,
    projectId,
    requestId,
    payload: { digest: digest.toString('hex') },
  });
}

/** One of them was used, or stands no longer: nothing of its transaction stays. */
const takenBefore = new Error('an approval was used before');
