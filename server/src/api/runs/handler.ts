import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { type RunSchema, type RunService, RunStateSchema } from '../../gen/portcullis/v1/run_pb.ts';
import { runOutcomes, type Run } from '../../run/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum, toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';
import { totalsMessage } from '../usage/messages.ts';
import { visible } from '../visible.ts';

export function runHandler({ runs, feed }: ServiceDeps): ServiceImpl<typeof RunService> {
  return {
    async startRun(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { agentId = null, workflow } = request;
      return {
        run: runMessage(await visible(feed, runs.start(principal, requestId, { projectId, agentId, workflow }))),
      };
    },

    async finishRun(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { runId: id, summary } = request;
      const outcome = fromEnum(RunStateSchema, runOutcomes, request.outcome, 'outcome');
      const finished = runs.finish(principal, requestId, { id, projectId, outcome, summary });
      const { run, totals } = await visible(feed, finished);
      return { run: runMessage(run), totals: totalsMessage(totals) };
    },

    async getRun(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const { run, totals } = await runs.get(principal, { id: request.runId, projectId });
      return { run: runMessage(run), totals: totalsMessage(totals) };
    },
  };
}

function runMessage(run: Run): MessageInitShape<typeof RunSchema> {
  return {
    id: run.id,
    projectId: run.projectId,
    agentId: run.agentId,
    workflow: run.workflow,
    state: toEnum(RunStateSchema, run.state),
    summary: run.summary,
    startTime: toTimestamp(run.startedAt),
    finishTime: toTimestamp(run.finishedAt),
  };
}
