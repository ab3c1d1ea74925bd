import type { ServiceImpl } from '@connectrpc/connect';
import { pageSizeDefault, usageDefaultMs } from '../../base/limits.ts';
import { listHolds } from '../../budget/hold-list-store.ts';
import { sumUsage, usageGroups } from '../../budget/usage-store.ts';
import { attemptOutcomes, type UsageFilter } from '../../budget/usage-store-filter.ts';
import { listAttempts } from '../../budget/usage-store-list.ts';
import {
  type AnalyticsService,
  AttemptOutcomeSchema,
  type UsageFilter as UsageFilterMessage,
  UsageGroupSchema,
} from '../../gen/portcullis/v1/analytics_pb.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp, toTimestamp } from '../time.ts';
import { attemptMessage, holdMessage, totalsMessage } from './messages.ts';

type UsageMethods = 'getUsage' | 'listAttempts' | 'listHolds';

/** What the ledger tells: a part of AnalyticsService. */
export function usageHandler({
  pool,
  clock,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof AnalyticsService>, UsageMethods> {
  return {
    async getUsage(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const group = fromEnum(UsageGroupSchema, usageGroups, request.groupBy, 'group_by');
      const limit = request.limit === 0 ? pageSizeDefault : request.limit;
      const asked = usageFilter(projectId, request.filter);
      const bounded = asked.from !== null || asked.runId !== null;
      const filter = bounded ? asked : { ...asked, from: clock.now() - usageDefaultMs };
      const totals = await sumUsage(pool, filter, group, limit + 1);
      return {
        rows: totals.slice(0, limit).map((total) => ({ key: total.key, totals: totalsMessage(total) })),
        truncated: totals.length > limit,
        startTime: toTimestamp(filter.from),
      };
    },

    async listAttempts(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const filter = usageFilter(projectId, request.filter);
      const page = await listAttempts(pool, filter, pageTokens.read(list, request), clock.now());
      return { attempts: page.items.map(attemptMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async listHolds(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await listHolds(pool, projectId, pageTokens.read(list, request));
      return { holds: page.items.map(holdMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function usageFilter(projectId: string, filter: UsageFilterMessage | undefined): UsageFilter {
  return {
    projectId,
    agentId: filter?.agentId ?? null,
    keyId: filter?.keyId ?? null,
    runId: filter?.runId ?? null,
    workflow: filter?.workflow ?? null,
    provider: filter?.provider ?? null,
    model: filter?.model ?? null,
    outcome:
      filter?.outcome === undefined
        ? null
        : fromEnum(AttemptOutcomeSchema, attemptOutcomes, filter.outcome, 'filter.outcome'),
    from: fromTimestamp('filter.start_time', filter?.startTime),
    to: fromTimestamp('filter.end_time', filter?.endTime),
  };
}
