import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { parseArguments } from '../../approval/arguments.ts';
import { listApprovals } from '../../approval/list.ts';
import { approvalStates, decisionActions } from '../../approval/model.ts';
import { isRequester } from '../../approval/service.ts';
import {
  ApprovalActionSchema,
  type ApprovalService,
  ApprovalStateSchema,
  type DecideApprovalRequest,
  type RepeatGrant,
} from '../../gen/portcullis/v1/approval_pb.ts';
import { PortcullisError } from '../../base/errors.ts';
import { callerOf } from '../caller.ts';
import { signedRequestKey } from '../context.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { wholeSeconds } from '../time.ts';
import { visible } from '../visible.ts';
import { askFor } from './asked.ts';
import { approvalMessage, listedMessage, voteMessage } from './messages.ts';

/** Requests for approval: asked, looked at, decided, used, taken back. */
export function approvalHandler(deps: ServiceDeps): ServiceImpl<typeof ApprovalService> {
  const { approvals, approvalWaits, pool, pageTokens, feed } = deps;
  return {
    async listApprovals(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const state = request.state === 0 ? null : fromEnum(ApprovalStateSchema, approvalStates, request.state, 'state');
      const filter = { projectId, state, runId: request.runId ?? null };
      const page = await listApprovals(pool, principal, filter, pageTokens.read(list, request));
      return { approvals: page.items.map(listedMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async getApproval(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const asked = { id: request.approvalId, projectId };
      const waitMs = request.wait ? wholeSeconds('wait', request.wait) * 1000 : 0;
      let approval = await approvals.get(principal, asked);
      if (waitMs > 0 && approval.state === 'pending')
        approval = await approvalWaits.wait(approval.id, context.signal, waitMs);
      await approvals.looked(approval, principal, { requestId, address: addressOf(context) });
      return { approval: approvalMessage(principal, approval) };
    },

    async listApprovalVotes(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const votes = await approvals.votes(principal, { id: request.approvalId, projectId });
      return { votes: votes.map(voteMessage) };
    },

    async requestApproval(request, context) {
      const caller = callerOf(context, undefined);
      const { approval, attached } = await askFor(pool, caller, request);
      return { approval: approvalMessage(caller.principal, approval), attached };
    },

    async decideApproval(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const from = { requestId, address: addressOf(context) };
      const decided = await approvals.decide({ ...decisionIn(request), ...from, by: { principal }, projectId });
      const { result, version } = decided;
      const approval = version === null ? result : await visible(feed, Promise.resolve({ result, version }));
      return { approval: approvalMessage(principal, approval) };
    },

    async useApproval(request, context) {
      const { principal, requestId, projectId } = callerOf(context, undefined);
      const asked = { id: request.approvalId, projectId };
      const found = await approvals.get(principal, asked);
      if (!isRequester(principal, found))
        throw new PortcullisError('policy_denied', 'Whoever asked uses what was approved.', {
          rule: 'approval.requester',
        });
      const use = { id: found.id, digest: Buffer.from(request.digest, 'hex'), ruleDigest: found.rule?.digest ?? null };
      if (!(await approvals.use(use, { principal, requestId })))
        throw new PortcullisError('conflict', whyNot(found.state));
      return { approval: approvalMessage(principal, await approvals.get(principal, asked)) };
    },

    async cancelApproval(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { approvalId: id, reason } = request;
      const approval = await approvals.cancel({ by: principal, requestId, projectId, id, reason });
      return { approval: approvalMessage(principal, approval) };
    },
  };
}

function whyNot(state: string): string {
  return state === 'approved' || state === 'edited'
    ? 'It was used already, or its time is over, or its run ended; or something else was approved than what has this digest.'
    : `It is ${state}: there is nothing to use.`;
}

function addressOf({ values }: HandlerContext): string {
  return values.get(signedRequestKey)?.clientAddress ?? '';
}

function decisionIn(request: DecideApprovalRequest) {
  const { approvalId: id, reason, response = null, editedArgumentsJson: edited, digest, grant } = request;
  return {
    id,
    action: fromEnum(ApprovalActionSchema, decisionActions, request.action, 'action'),
    reason,
    text: response,
    editedArguments: edited === undefined ? undefined : parseArguments('edited_arguments_json', edited),
    seenDigest: digest === undefined ? null : Buffer.from(digest, 'hex'),
    grant: grant ? grantIn(grant) : null,
  };
}

function grantIn({ uses, within, anyArguments }: RepeatGrant) {
  return { uses, withinMs: within ? wholeSeconds('grant.within', within) * 1000 : 0, anyArguments };
}
