import type { ServiceImpl } from '@connectrpc/connect';
import { AttemptOutcomeSchema } from '../../gen/portcullis/v1/analytics_pb.ts';
import type { RunService } from '../../gen/portcullis/v1/run_pb.ts';
import { invalid } from '../../identity/input.ts';
import { toldOutcomes } from '../../run/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import { attemptMessage } from './messages.ts';

/** What agents tell of attempts that could not pass the gate. */
export function attemptMethods({
  promptAttempts,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof RunService>, 'recordPromptAttempt' | 'listPromptAttempts'> {
  return {
    async recordPromptAttempt(request, context) {
      const { principal } = callerOf(context, undefined);
      const startedAt = fromTimestamp('start_time', request.startTime);
      if (startedAt === null) throw invalid('start_time', 'start_time is required: say when the call started.');
      const attemptNumber = request.attemptNumber === 0 ? 1 : request.attemptNumber;
      if (request.callId === undefined && attemptNumber > 1)
        throw invalid('call_id', 'call_id is required with attempt_number: say which call it is an attempt of.');
      const attempt = await promptAttempts.record(principal, {
        clientId: request.clientId,
        runId: request.runId ?? null,
        callId: request.callId ?? request.clientId,
        attemptNumber,
        provider: request.provider,
        model: request.model,
        tokensInput: request.inputTokens,
        tokensOutput: request.outputTokens,
        tokensCacheRead: request.cacheReadTokens,
        tokensCacheWrite: request.cacheWriteTokens,
        costUsd: request.costNanousd,
        outcome: fromEnum(AttemptOutcomeSchema, toldOutcomes, request.outcome, 'outcome'),
        startedAt,
      });
      return { attempt: attemptMessage(attempt) };
    },

    async listPromptAttempts(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const filter = {
        projectId,
        agentId: request.agentId ?? null,
        runId: request.runId ?? null,
        from: fromTimestamp('start_time', request.startTime),
        to: fromTimestamp('end_time', request.endTime),
      };
      const page = await promptAttempts.list(principal, filter, pageTokens.read(list, request));
      return { attempts: page.items.map(attemptMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}
