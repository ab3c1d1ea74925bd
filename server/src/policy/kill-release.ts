import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { killReleaseAskedMs } from '../base/limits.ts';
import { personWhoCalls } from '../identity/in-person.ts';
import type { Principal } from '../identity/model.ts';
import { requireScope } from '../identity/permission.ts';
import type { Tx } from '../pg/tx.ts';
import { findKillSwitch, releaseKillSwitch, type StoredKillSwitch } from './kill-store.ts';
import { askRelease, mayConfirm } from './release-store.ts';

/** Who wants a switch released, in a control write. */
export interface ReleaseRequest {
  readonly by: Principal;
  readonly requestId: string;
  readonly id: string;
  readonly projectId: string;
}

/**
 * Releases a switch, or, where two people must and this is the first of them, writes down that they ask. What is released
 * already stays so.
 * @throws PortcullisError not_found, insufficient_scope, policy_denied (a credential that is not one person's)
 */
export async function release(
  tx: Tx,
  version: bigint,
  request: ReleaseRequest,
  twoPeople: boolean,
): Promise<StoredKillSwitch> {
  const kill = await requireSwitch(tx, request);
  if (kill.releasedAt !== null) return kill;
  if (kill.scope !== 'everything' || !twoPeople) return end(tx, version, request, kill);
  const { by, requestId, id, projectId } = request;
  const personId = await requirePerson(tx, by);
  if (await askRelease(tx, version, id, { name: by.name, personId }, killReleaseAskedMs)) {
    await appendAudit(tx, {
      actor: { kind: by.kind, id: by.id },
      action: 'kill.release_asked',
      target: id,
      projectId: null,
      requestId,
      payload: { person_id: personId, until_ms: killReleaseAskedMs },
    });
  }
  return requireSwitch(tx, { ...request, projectId });
}

/**
 * Releases the switch for everything as the second person.
 * @throws PortcullisError not_found, insufficient_scope, policy_denied (a credential that is not one person's), conflict
 * (nobody else asked, or not in time)
 */
export async function confirm(tx: Tx, version: bigint, request: ReleaseRequest): Promise<StoredKillSwitch> {
  const kill = await requireSwitch(tx, request);
  if (kill.releasedAt !== null) return kill;
  const personId = await requirePerson(tx, request.by);
  if (await mayConfirm(tx, kill.id, personId)) return end(tx, version, request, kill);
  throw new PortcullisError(
    'conflict',
    'Nobody else asked for this release in the last 15 minutes: one person asks (`portcullis kill off`), another confirms.',
  );
}

async function requireSwitch(tx: Tx, { by, id, projectId }: ReleaseRequest): Promise<StoredKillSwitch> {
  const kill = await findKillSwitch(tx, id, projectId);
  if (!kill) throw new PortcullisError('not_found', `There is no kill switch ${id.slice(0, 100)} in this project.`);
  if (kill.scope === 'everything') requireScope(by, 'admin');
  return kill;
}

async function end(
  tx: Tx,
  version: bigint,
  { by, requestId }: ReleaseRequest,
  kill: StoredKillSwitch,
): Promise<StoredKillSwitch> {
  const released = await releaseKillSwitch(tx, version, kill.id, by.name);
  if (!released) return kill;
  await appendAudit(tx, {
    actor: { kind: by.kind, id: by.id },
    action: 'kill.released',
    target: kill.id,
    projectId: kill.projectId,
    requestId,
    payload: {
      scope: kill.scope,
      value: kill.value,
      engaged_by: kill.engagedBy,
      reason: kill.reason,
      asked_by: kill.releaseAsk?.personId ?? null,
    },
  });
  return released;
}

/** The one person who calls. @throws PortcullisError policy_denied where the credential may be in other hands */
async function requirePerson(tx: Tx, by: Principal): Promise<string> {
  const personId = await personWhoCalls(tx, by);
  if (personId !== null) return personId;
  throw new PortcullisError(
    'policy_denied',
    'Two people release everything, each for themselves: sign in, or use a key that you made yourself. A shared or issued key will not do.',
    { rule: 'kill.two_people' },
  );
}
