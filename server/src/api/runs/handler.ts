import type { ServiceImpl } from '@connectrpc/connect';
import { type RunService, RunStateSchema } from '../../gen/portcullis/v1/run_pb.ts';
import { listRuns } from '../../run/list.ts';
import { runOutcomes, runStates } from '../../run/model.ts';
import { watchRun } from '../../run/watch.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import { totalsMessage } from '../usage/messages.ts';
import { visible } from '../visible.ts';
import { attemptMethods } from './attempts.ts';
import { eventMethods } from './events.ts';
import { listedMessage, runMessage, toldMessage } from './messages.ts';

export function runHandler(deps: ServiceDeps): ServiceImpl<typeof RunService> {
  const { runs, feed, pool, pageTokens, clock, identity, runWatches: watches } = deps;
  return {
    ...attemptMethods(deps),
    ...eventMethods(deps),

    async startRun(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { agentId = null, workflow, taskId = null, promptVersion = null, maxRetries = null } = request;
      const asked = { projectId, agentId, workflow, taskId, promptVersion, maxRetries };
      return { run: runMessage(await visible(feed, runs.start(principal, requestId, asked))) };
    },

    async finishRun(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { runId: id, summary, error } = request;
      const outcome = fromEnum(RunStateSchema, runOutcomes, request.outcome, 'outcome');
      const finished = runs.finish(principal, requestId, { id, projectId, outcome, summary, error });
      const { run, totals } = await visible(feed, finished);
      return { run: runMessage(run), totals: totalsMessage(totals) };
    },

    async getRun(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const { run, totals } = await runs.get(principal, { id: request.runId, projectId });
      return { run: runMessage(run), totals: totalsMessage(totals) };
    },

    async listRuns(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const { agentId = null, workflow = null, promptVersion = null, taskId = null } = request;
      const filter = {
        projectId,
        agentId,
        workflow,
        promptVersion,
        taskId,
        state: request.state === 0 ? null : fromEnum(RunStateSchema, runStates, request.state, 'state'),
        from: fromTimestamp('start_time', request.startTime),
        to: fromTimestamp('end_time', request.endTime),
      };
      const page = await listRuns(pool, principal, filter, pageTokens.read(list, request));
      return { runs: page.items.map(listedMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async *watchRun(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const asked = { id: request.runId, projectId, position: request.position };
      for await (const told of watchRun({ pool, clock, identity, watches }, principal, asked, context.signal))
        yield toldMessage(told);
    },
  };
}
