import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { approvalReasonCharsMax, approvalVotersMax } from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import { invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { permits } from '../identity/permission.ts';
import { controlWrite, inTransaction, type Queryable, type Tx } from '../pg/tx.ts';
import { checkDecision, type Decision, vote, type Voted } from './deciding.ts';
import { end, systemActor } from './ending.ts';
import { type KilledBy, lostGroundOf } from './ground.ts';
import { countOutcome } from './counted.ts';
import { type Approval, type ApprovalState, digestInForce, type Vote } from './model.ts';
import type { Continuations, DecisionContext, Editors } from './outcomes.ts';
import { findApproval, isOverdue, lockApproval } from './store.ts';
import { shown } from './text.ts';
import { useApproval, type Use } from './use.ts';
import { selectVotes } from './vote-store.ts';

export interface ApprovalParts {
  readonly continuations: Continuations;
  readonly editors: Editors;
  readonly killedBy: KilledBy;
}

/** What a decision came to, and the control version from which a replica obeys what followed; null: nothing that one must read. */
export interface Decided {
  readonly result: Approval;
  readonly version: bigint | null;
}

export interface Cancellation {
  readonly by: Principal;
  readonly requestId: string;
  readonly projectId: string;
  readonly id: string;
  readonly reason: string;
}

/** A refusal that must not undo what was found out: that it is overdue, or has no ground. */
interface Refused {
  readonly refused: PortcullisError;
  readonly approval: Approval | null;
}

/** Requests for a decision of a person: looked at, decided, cancelled. Asking is `ask`, in the asker's own transaction. */
export class Approvals {
  readonly #pool: Pool;
  readonly #parts: ApprovalParts;

  constructor(pool: Pool, parts: ApprovalParts) {
    this.#pool = pool;
    this.#parts = parts;
  }

  /**
   * Decides, or votes where several people must agree. Exactly one call gives a request its outcome; what follows from it is
   * done in the same transaction.
   * @throws PortcullisError not_found, invalid_argument, insufficient_scope, policy_denied (not by you, or not so), conflict
   * (it has an outcome, its time is over, you voted already, it was edited since)
   */
  async decide(decision: Decision): Promise<Decided> {
    checkDecision(decision);
    const found = await this.#require(this.#pool, decision);
    requirePending(found);
    if (!this.#parts.continuations[found.kind]) {
      const told = await inTransaction(this.#pool, (tx) => this.#decide(tx, null, decision));
      return { result: tell(told), version: null };
    }
    const told = await controlWrite(this.#pool, (tx, version) => this.#decide(tx, version, decision));
    return { result: tell(told.result), version: told.version };
  }

  async #decide(tx: Tx, version: bigint | null, decision: Decision): Promise<Voted | Refused> {
    await decision.within?.(tx);
    const approval = await lockApproval(tx, decision.id);
    if (!approval) throw noSuchApproval(decision.id);
    requirePending(approval);
    const { requestId } = decision;
    const over = await this.#endWithoutGround(tx, approval);
    if (over?.approval?.state === 'expired')
      await this.#goOn(tx, version, over.approval, { personId: null, personName: '', requestId });
    if (over) return over;
    const voted = await vote(tx, approval, decision, this.#parts.editors);
    const { id: personId, name: personName } = voted.decider;
    if (voted.decided) await this.#goOn(tx, version, voted.approval, { personId, personName, requestId });
    return voted;
  }

  /** What follows from an outcome, for the kinds from which anything does: those are decided in a control write. */
  async #goOn(tx: Tx, version: bigint | null, approval: Approval, context: DecisionContext): Promise<void> {
    const continuation = this.#parts.continuations[approval.kind];
    if (continuation && version !== null) await continuation(tx, version, approval, context);
  }

  /** What is overdue, or has no ground any more, ends here and now, whoever comes to decide it. */
  async #endWithoutGround(tx: Tx, { id }: Approval): Promise<Refused | null> {
    const none = { id, decidedBy: null, decidedVia: null, response: null };
    const by = { actor: systemActor, requestId: null };
    if (await isOverdue(tx, id)) {
      const approval = await end(tx, { ...none, state: 'expired', reason: '' }, by);
      return { approval, refused: new PortcullisError('conflict', 'It has expired: no answer in time is a no.') };
    }
    const lost = await lostGroundOf(tx, id, this.#parts.killedBy);
    if (lost === null) return null;
    const approval = await end(tx, { ...none, state: 'cancelled', reason: lost }, by);
    return { approval, refused: new PortcullisError('conflict', `It was cancelled: ${lost}`) };
  }

  async #require(db: Queryable, { id, projectId }: { id: string; projectId: string | null }): Promise<Approval> {
    const found = await findApproval(db, { id, projectId });
    if (found) return found;
    throw noSuchApproval(id);
  }

  /**
   * Takes a request back: by whoever asked, or by an administrator.
   * @throws PortcullisError not_found, policy_denied, conflict (it has an outcome), invalid_argument
   */
  async cancel({ by, requestId, projectId, id, reason }: Cancellation): Promise<Approval> {
    if (reason.length > approvalReasonCharsMax)
      throw invalid('reason', `reason must be at most ${approvalReasonCharsMax} characters.`);
    const found = await this.#require(this.#pool, { id, projectId });
    if (!isRequester(by, found) && !permits(by, 'admin')) {
      if (!maySee(by, found)) throw noSuchApproval(id);
      throw new PortcullisError(
        'policy_denied',
        'Whoever asked takes it back, or an administrator: reject it instead.',
        {
          rule: 'approval.requester',
        },
      );
    }
    const ended = await inTransaction(this.#pool, async (tx) => {
      const how = { id, state: 'cancelled', decidedBy: by.id, decidedVia: null, response: null } as const;
      const actor = { kind: by.kind, id: by.id };
      return end(tx, { ...how, reason: shown(reason.trim(), approvalReasonCharsMax) }, { actor, requestId });
    });
    if (!ended) throw alreadyDecided((await this.#require(this.#pool, { id, projectId })).state);
    outcome(ended);
    return ended;
  }

  /** One request, to whoever may see it. @throws PortcullisError not_found */
  async get(by: Principal, asked: { readonly id: string; readonly projectId: string }): Promise<Approval> {
    const found = await this.#require(this.#pool, asked);
    if (!maySee(by, found)) throw noSuchApproval(asked.id);
    return found;
  }

  /** The votes on a request, in their order, to whoever may see it. @throws PortcullisError not_found */
  async votes(by: Principal, asked: { readonly id: string; readonly projectId: string }): Promise<Vote[]> {
    const { id } = await this.get(by, asked);
    return selectVotes(this.#pool, id, approvalVotersMax);
  }

  /** Writes down that somebody else than the requester looked at what is asked for: who, how and from where. */
  async looked(
    approval: Approval,
    by: Principal,
    from: { readonly requestId: string; readonly address: string },
  ): Promise<void> {
    if (isRequester(by, approval)) return;
    const { kind, id, sessionId } = by;
    const payload = { via: sessionId === undefined ? 'key' : 'session', client_address: from.address };
    await inTransaction(this.#pool, (tx) =>
      appendAudit(tx, {
        actor: { kind, id },
        action: 'approval.viewed',
        target: approval.id,
        projectId: approval.projectId,
        requestId: from.requestId,
        payload: { ...payload, link_id: null, digest: digestInForce(approval).toString('hex') },
      }),
    );
  }

  /**
   * Takes an approval for what is about to run, and writes that down: true exactly once ({@link useApproval}), and never where
   * the kill switch reaches who asked.
   */
  async use(use: Use, by: { readonly principal: Principal; readonly requestId: string }): Promise<boolean> {
    return inTransaction(this.#pool, async (tx) => {
      if ((await lostGroundOf(tx, use.id, this.#parts.killedBy)) !== null) return false;
      if (!(await useApproval(tx, use))) return false;
      const { kind, id, projectId } = by.principal;
      await appendAudit(tx, {
        actor: { kind, id },
        action: 'approval.used',
        target: use.id,
        projectId,
        requestId: by.requestId,
        payload: { digest: use.digest.toString('hex') },
      });
      return true;
    });
  }
}

/** Whether this caller asked for it: the same principal, whatever its key. */
export function isRequester({ kind, id }: Principal, { requester }: Approval): boolean {
  return requester.kind === kind && requester.id === id;
}

/** Agents see what they asked for themselves; a key that is bound to a run, of that run alone. */
export function maySee(by: Principal, approval: Approval): boolean {
  if (by.runId !== null && by.runId !== approval.runId) return false;
  return by.kind !== 'agent' || isRequester(by, approval);
}

/** Whether this caller may see the arguments themselves: who asked, who decides, and who audits. */
export function maySeeArguments(by: Principal, approval: Approval): boolean {
  return isRequester(by, approval) || permits(by, 'approvals:decide') || permits(by, 'admin:read');
}

/** What is committed. @throws PortcullisError conflict */
function tell(told: Voted | Refused): Approval {
  if ('refused' in told) {
    if (told.approval) outcome(told.approval);
    throw told.refused;
  }
  if (told.decided) outcome(told.approval);
  return told.approval;
}

function outcome({ kind, state }: Approval): void {
  if (state !== 'pending') countOutcome(kind, state);
}

function requirePending({ state }: Approval): void {
  if (state !== 'pending') throw alreadyDecided(state);
}

function alreadyDecided(state: ApprovalState): PortcullisError {
  return new PortcullisError('conflict', `It is ${state} already: an outcome never changes.`);
}

function noSuchApproval(id: string): PortcullisError {
  return new PortcullisError('not_found', `There is no approval ${shown(id, 100)} in this project.`);
}
