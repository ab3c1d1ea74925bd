import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { approvalsKeptMs, approvalSweepBatchMax } from '../base/approval-limits.ts';
import { controlWrite, inTransaction, type Tx } from '../pg/tx.ts';
import { countOutcome } from './counted.ts';
import { end, systemActor } from './ending.ts';
import { lostGroundOf, lostOf, selectGround } from './ground.ts';
import { purgeGrants } from './grants.ts';
import { countAllPending } from './list-store.ts';
import type { Approval } from './model.ts';
import { insertNotice, purgeNotices } from './notices.ts';
import { groupsAfter } from './rules.ts';
import type { ApprovalParts } from './service.ts';
import { announce } from './store.ts';
import { purgeApprovals, selectOverdue, setRung, takeEscalations, takePending } from './sweep-store.ts';

export type SweepParts = Pick<ApprovalParts, 'continuations' | 'killedBy'> & {
  /** Whether any kill switch is engaged: only then all pending requests are looked at. */
  readonly anyKill: () => boolean;
};

const by = { actor: systemActor, requestId: null };
const nobody = { decidedBy: null, decidedVia: null, response: null };

/** What nobody needs to come for: requests expire, climb their ladder, and lose their ground. Any number of processes may sweep. */
export class ApprovalSweep {
  readonly #pool: Pool;
  readonly #parts: SweepParts;
  #pending = 0;

  constructor(pool: Pool, parts: SweepParts) {
    this.#pool = pool;
    this.#parts = parts;
  }

  /** How many waited for people when it last swept, in all projects. */
  get pending(): number {
    return this.#pending;
  }

  async sweep(): Promise<void> {
    const failures: unknown[] = [];
    for (const part of [() => this.#expire(), () => this.#escalate(), () => this.#cancel()])
      await part().catch((error: unknown) => failures.push(error));
    this.#pending = await countAllPending(this.#pool);
    if (failures.length > 0) throw new AggregateError(failures, 'Not all approvals could be swept.');
  }

  /** Deletes what ended long ago, and what tells nobody anything any more. */
  async purge(): Promise<void> {
    while ((await purgeNotices(this.#pool, approvalSweepBatchMax)) === approvalSweepBatchMax);
    while ((await purgeGrants(this.#pool, approvalSweepBatchMax)) === approvalSweepBatchMax);
    while ((await purgeApprovals(this.#pool, approvalsKeptMs, approvalSweepBatchMax)) === approvalSweepBatchMax);
  }

  async #expire(): Promise<void> {
    const failures: unknown[] = [];
    for (const id of await selectOverdue(this.#pool, approvalSweepBatchMax))
      await this.#expireOne(id).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'Not all overdue approvals could be expired.');
  }

  /** What follows from no answer follows in the same transaction, as from one. */
  async #expireOne(id: string): Promise<void> {
    const expire = async (tx: Tx): Promise<Approval | null> =>
      (await takePending(tx, id)) && end(tx, { id, state: 'expired', reason: '', ...nobody }, by);
    const kind = await inTransaction(this.#pool, async (tx) => (await takePending(tx, id))?.kind);
    if (kind === undefined) return;
    const continuation = this.#parts.continuations[kind];
    const ended = continuation
      ? await controlWrite(this.#pool, async (tx, version) => {
          const expired = await expire(tx);
          if (expired) await continuation(tx, version, expired, { personId: null, personName: '', requestId: '' });
          return expired;
        }).then(({ result }) => result)
      : await inTransaction(this.#pool, expire);
    if (ended) countOutcome(ended.kind, 'expired');
  }

  async #escalate(): Promise<void> {
    await inTransaction(this.#pool, async (tx) => {
      for (const approval of await takeEscalations(tx, approvalSweepBatchMax)) await takeStep(tx, approval);
    });
  }

  async #cancel(): Promise<void> {
    const all = this.#parts.anyKill();
    let afterId = '';
    for (;;) {
      const rows = await selectGround(this.#pool, { all, afterId, limit: approvalSweepBatchMax });
      for (const row of rows) if (lostOf(row, this.#parts.killedBy) !== null) await this.#cancelOne(row.id);
      const last = rows.at(-1);
      if (!last || rows.length < approvalSweepBatchMax) return;
      afterId = last.id;
    }
  }

  /** Looked at again with the request in hand. */
  async #cancelOne(id: string): Promise<void> {
    const ended = await inTransaction(this.#pool, async (tx) => {
      if (!(await takePending(tx, id))) return null;
      const reason = await lostGroundOf(tx, id, this.#parts.killedBy);
      return reason === null ? null : end(tx, { id, state: 'cancelled', reason, ...nobody }, by);
    });
    if (ended) countOutcome(ended.kind, 'cancelled');
  }
}

async function takeStep(tx: Tx, approval: Approval): Promise<void> {
  const { id, projectId, ladder, rung } = approval;
  const step = ladder[rung];
  if (!step) return;
  const groups = groupsAfter(approval.groups, ladder, rung);
  await setRung(tx, id, { rung: rung + 1, groups, nextAfterMs: ladder[rung + 1]?.afterMs ?? null });
  await insertNotice(tx, { approvalId: id, rung: rung + 1, groups: step.groups });
  await appendAudit(tx, {
    actor: systemActor,
    action: 'approval.escalated',
    target: id,
    projectId,
    requestId: null,
    payload: { step: rung + 1, groups: [...step.groups], after_ms: step.afterMs },
  });
  await announce(tx, id);
}
