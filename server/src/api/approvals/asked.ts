import type { Pool } from 'pg';
import { ask, type Asked, requesterOf } from '../../approval/asking.ts';
import { parseArguments } from '../../approval/arguments.ts';
import { isObject } from '../../approval/editors.ts';
import { approvalKinds, type ApprovalRequest, risks } from '../../approval/model.ts';
import { approvalExpiryMsDefault, approvalUseMsDefault } from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import {
  ApprovalKindSchema,
  ApprovalRiskSchema,
  type RequestApprovalRequest,
} from '../../gen/portcullis/v1/approval_pb.ts';
import { invalid } from '../../identity/input.ts';
import type { Principal } from '../../identity/model.ts';
import { inTransaction } from '../../pg/tx.ts';
import { noSuchRun, reach } from '../../run/reach.ts';
import { findStanding } from '../../run/store.ts';
import type { Caller } from '../caller.ts';
import { fromEnum } from '../enums.ts';
import { wholeSeconds } from '../time.ts';

/**
 * Asks for a caller of the API: always in its own name, project and run.
 * @throws PortcullisError invalid_argument, not_found (no such run of the caller's), conflict (the run ended), rate_limited
 */
export async function askFor(
  pool: Pool,
  { principal, requestId }: Caller,
  request: RequestApprovalRequest,
): Promise<Asked> {
  const asked = read(principal, requestId, request);
  return inTransaction(pool, async (tx) => {
    if (asked.runId !== null) {
      const standing = await findStanding(tx, reach(principal, { id: asked.runId, projectId: asked.projectId }));
      if (!standing) throw noSuchRun(asked.runId);
      if (standing.run.state !== 'running')
        throw new PortcullisError('conflict', 'The run has ended: nothing is asked for it.');
    }
    return ask(tx, asked);
  });
}

/** @throws PortcullisError invalid_argument */
function read(principal: Principal, requestId: string, request: RequestApprovalRequest): ApprovalRequest {
  const { action, summary, groups, diff = null, expiry, useWithin } = request;
  const kind = fromEnum(ApprovalKindSchema, approvalKinds, request.kind, 'kind');
  const args = parseArguments('arguments_json', request.argumentsJson);
  if (!isObject(args)) throw invalid('arguments_json', 'arguments_json must be a JSON object.');
  const runId = request.runId ?? principal.runId;
  if (kind === 'run_gate' && runId === null) throw invalid('run_id', 'run_id is required: a gate is of a run.');
  return {
    projectId: principal.projectId,
    kind,
    requester: requesterOf(principal),
    runId,
    action,
    arguments: args,
    summary,
    diff,
    groups,
    quorum: request.quorum === 0 ? 1 : request.quorum,
    ladder: request.escalation.map(({ after, groups: more }) => ({
      afterMs: after ? wholeSeconds('escalation', after) * 1000 : 0,
      groups: more,
    })),
    risk: request.risk === 0 ? 'normal' : fromEnum(ApprovalRiskSchema, risks, request.risk, 'risk'),
    expiresInMs: expiry ? wholeSeconds('expiry', expiry) * 1000 : approvalExpiryMsDefault,
    useMs: useWithin ? wholeSeconds('use_within', useWithin) * 1000 : approvalUseMsDefault,
    rule: null,
    requestId,
  };
}
