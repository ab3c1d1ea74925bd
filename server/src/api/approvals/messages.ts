import type { MessageInitShape } from '@bufbuild/protobuf';
import { maySeeArguments } from '../../approval/service.ts';
import type { Approval, Vote } from '../../approval/model.ts';
import {
  ApprovalActionSchema,
  ApprovalKindSchema,
  ApprovalRiskSchema,
  type ApprovalSchema,
  ApprovalStateSchema,
  ApprovalVia,
  ApprovalViaSchema,
  type ApprovalVoteSchema,
} from '../../gen/portcullis/v1/approval_pb.ts';
import type { Principal } from '../../identity/model.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

/** A request as lists have it: what is asked for stands in its summary and its digest alone. */
export function listedMessage(approval: Approval): MessageInitShape<typeof ApprovalSchema> {
  return {
    id: approval.id,
    projectId: approval.projectId,
    kind: toEnum(ApprovalKindSchema, approval.kind),
    state: toEnum(ApprovalStateSchema, approval.state),
    risk: toEnum(ApprovalRiskSchema, approval.risk),
    requesterId: approval.requester.id,
    requesterName: approval.requester.name,
    runId: approval.runId ?? undefined,
    action: approval.action,
    digest: approval.digest.toString('hex'),
    editedDigest: approval.editedDigest?.toString('hex'),
    summary: approval.summary,
    rule: approval.rule?.name,
    groups: [...approval.groups],
    quorum: approval.quorum,
    createTime: toTimestamp(approval.createdAt),
    expireTime: toTimestamp(approval.expiresAt),
    endTime: toTimestamp(approval.endedAt),
    decidedBy: approval.decidedBy ?? undefined,
    decidedVia: approval.decidedVia === null ? ApprovalVia.UNSPECIFIED : toEnum(ApprovalViaSchema, approval.decidedVia),
    reason: approval.reason,
    response: approval.response ?? undefined,
    useTime: toTimestamp(approval.usedAt),
  };
}

/** A request with all that this caller may see of it. */
export function approvalMessage(by: Principal, approval: Approval): MessageInitShape<typeof ApprovalSchema> {
  const listed = listedMessage(approval);
  if (!maySeeArguments(by, approval)) return listed;
  const { what, editedWhat, diff } = approval;
  return { ...listed, whatJson: what, editedWhatJson: editedWhat ?? undefined, diff: diff ?? undefined };
}

export function voteMessage(vote: Vote): MessageInitShape<typeof ApprovalVoteSchema> {
  return {
    personId: vote.personId,
    action: toEnum(ApprovalActionSchema, vote.action),
    via: toEnum(ApprovalViaSchema, vote.via),
    digest: vote.digest.toString('hex'),
    reason: vote.reason,
    voteTime: toTimestamp(vote.votedAt),
  };
}
