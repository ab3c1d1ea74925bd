import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { personWhoCalls } from '../identity/in-person.ts';
import type { Principal } from '../identity/model.ts';
import { requireScope } from '../identity/permission.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import { emitReleased } from './kill-events.ts';
import { findKillSwitch, releaseKillSwitch, type StoredKillSwitch } from './kill-store.ts';
import { releaseApprovalOf, setReleaseApproval, standingReleaseOfEverything } from './release-store.ts';

/** Who wants a switch released, in a control write. */
export interface ReleaseRequest {
  readonly by: Principal;
  readonly requestId: string;
  readonly id: string;
  readonly projectId: string;
}

/** Asks people; handed in by the composition, since approval/ is a sibling. */
export interface ReleaseApprovals {
  /** Asks for another person's approval of a release. @returns the id of the request */
  readonly ask: (tx: Tx, asked: ReleaseRequest & { readonly kill: StoredKillSwitch }) => Promise<string>;
  /** The release that was asked for is not wanted any more. */
  readonly cancel: (tx: Tx, approvalId: string, reason: string, requestId: string) => Promise<void>;
  /** Approves as the caller. @returns the control version from which replicas obey @throws PortcullisError policy_denied, conflict */
  readonly approve: (
    approvalId: string,
    confirms: ReleaseRequest & { readonly address: string },
  ) => Promise<bigint | null>;
}

/** Who released a switch, for the audit and for people. */
interface Releaser {
  readonly kind: Principal['kind'];
  readonly id: string;
  readonly name: string;
  readonly requestId: string;
  /** Who asked, where two people released it. */
  readonly askedBy: string | null;
}

/**
 * Releases a switch, or, where two people must, asks for the approval of another one. What is released already stays so.
 * @throws PortcullisError not_found, insufficient_scope, policy_denied (a credential that is not one person's)
 */
export async function release(
  tx: Tx,
  version: bigint,
  request: ReleaseRequest,
  approvals: ReleaseApprovals | null,
): Promise<StoredKillSwitch> {
  const kill = await requireSwitch(tx, request);
  if (kill.releasedAt !== null) return kill;
  const { by, requestId, id } = request;
  if (kill.scope !== 'everything' || approvals === null) {
    return (await end(tx, version, kill, { ...who(by), requestId, askedBy: null })) ?? kill;
  }
  const personId = await requirePerson(tx, by);
  // Somebody else's request stands: it is confirmed, not asked beside.
  if (kill.releaseAsk !== null && kill.releaseAsk.personId !== personId && kill.releaseAsk.until > (await now(tx)))
    return kill;
  const approvalId = await approvals.ask(tx, { ...request, kill });
  if (approvalId !== kill.releaseAsk?.approvalId) {
    await setReleaseApproval(tx, version, id, approvalId);
    await appendAudit(tx, {
      actor: { kind: by.kind, id: by.id },
      action: 'kill.release_asked',
      target: id,
      projectId: null,
      requestId,
      payload: { person_id: personId, approval: approvalId },
    });
  }
  return requireSwitch(tx, request);
}

/**
 * The request that the caller would approve as the second person; null where the switch is released already.
 * @throws PortcullisError not_found, insufficient_scope, policy_denied (a credential that is not one person's), conflict
 * (nobody asked, or not in time)
 */
export async function requestToConfirm(
  db: Queryable,
  request: ReleaseRequest,
): Promise<{ readonly kill: StoredKillSwitch; readonly approvalId: string | null }> {
  const kill = await requireSwitch(db, request);
  if (kill.releasedAt !== null) return { kill, approvalId: null };
  await requirePerson(db, request.by);
  if (kill.releaseAsk !== null) return { kill, approvalId: kill.releaseAsk.approvalId };
  throw new PortcullisError(
    'conflict',
    'Nobody asked for this release in the last 15 minutes: one person asks (`portcullis kill off`), another confirms.',
  );
}

/**
 * Releases a switch that another person approved, in the transaction of their decision.
 * @throws PortcullisError conflict (it was engaged anew since)
 */
export async function releaseApproved(
  tx: Tx,
  version: bigint,
  {
    id,
    approvalId,
    personId,
    ...releaser
  }: Omit<Releaser, 'id'> & { readonly id: string; readonly approvalId: string; readonly personId: string },
): Promise<void> {
  const kill = await findKillSwitch(tx, id, '');
  if (kill === null || kill.releasedAt !== null) return;
  if ((await releaseApprovalOf(tx, id)) !== approvalId) {
    throw new PortcullisError('conflict', 'The switch was engaged anew since this was asked: ask again.');
  }
  await end(tx, version, kill, { ...releaser, id: personId });
}

/** Takes back what was asked for the switch of everything, which is being engaged anew. */
export async function cancelRelease(tx: Tx, approvals: ReleaseApprovals, requestId: string): Promise<void> {
  const approvalId = await standingReleaseOfEverything(tx);
  if (approvalId !== null) await approvals.cancel(tx, approvalId, 'The switch was engaged anew.', requestId);
}

async function requireSwitch(db: Queryable, { by, id, projectId }: ReleaseRequest): Promise<StoredKillSwitch> {
  const kill = await findKillSwitch(db, id, projectId);
  if (!kill) throw new PortcullisError('not_found', `There is no kill switch ${id.slice(0, 100)} in this project.`);
  if (kill.scope === 'everything') requireScope(by, 'admin');
  return kill;
}

/** @returns null where somebody else released it */
async function end(
  tx: Tx,
  version: bigint,
  kill: StoredKillSwitch,
  { kind, id, name, requestId, askedBy }: Releaser,
): Promise<StoredKillSwitch | null> {
  const released = await releaseKillSwitch(tx, version, kill.id, name);
  if (!released) return null;
  await appendAudit(tx, {
    actor: { kind, id },
    action: 'kill.released',
    target: kill.id,
    projectId: kill.projectId,
    requestId,
    payload: {
      scope: kill.scope,
      value: kill.value,
      engaged_by: kill.engagedBy,
      reason: kill.reason,
      asked_by: askedBy,
    },
  });
  await emitReleased(tx, released, name);
  return released;
}

function who({ kind, id, name }: Principal): Pick<Releaser, 'kind' | 'id' | 'name'> {
  return { kind, id, name };
}

/** By the database's clock, after all locks are held. */
async function now(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return rows[0]?.now.getTime() ?? 0;
}

/** The one person who calls. @throws PortcullisError policy_denied where the credential may be in other hands */
async function requirePerson(db: Queryable, by: Principal): Promise<string> {
  const personId = await personWhoCalls(db, by);
  if (personId !== null) return personId;
  throw new PortcullisError(
    'policy_denied',
    'Two people release everything, each for themselves: sign in, or use a key that you made yourself. A shared or issued key will not do.',
    { rule: 'kill.two_people' },
  );
}
