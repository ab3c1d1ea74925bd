import type { ServiceImpl } from '@connectrpc/connect';
import { pageSizeDefault, pageSizeMax, usageDefaultMs } from '../../base/limits.ts';
import { listAttempts, sumUsage, type UsageFilter, usageGroups } from '../../budget/usage-store.ts';
import {
  type AnalyticsService,
  type UsageFilter as UsageFilterMessage,
  UsageGroupSchema,
} from '../../gen/portcullis/v1/analytics_pb.ts';
import { invalid } from '../../identity/input.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp, toTimestamp } from '../time.ts';
import { attemptMessage, totalsMessage } from './messages.ts';

export function analyticsHandler({ pool, clock, pageTokens }: ServiceDeps): ServiceImpl<typeof AnalyticsService> {
  return {
    async getUsage(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const group = fromEnum(UsageGroupSchema, usageGroups, request.groupBy, 'group_by');
      const limit = groupLimit(request.limit);
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
      const page = await listAttempts(pool, filter, pageTokens.read(list, request));
      return { attempts: page.items.map(attemptMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function usageFilter(projectId: string, filter: UsageFilterMessage | undefined): UsageFilter {
  return {
    projectId,
    agentId: filter?.agentId ?? null,
    runId: filter?.runId ?? null,
    provider: filter?.provider ?? null,
    model: filter?.model ?? null,
    from: fromTimestamp('filter.start_time', filter?.startTime),
    to: fromTimestamp('filter.end_time', filter?.endTime),
  };
}

function groupLimit(limit: number): number {
  if (limit >= 0 && limit <= pageSizeMax) return limit === 0 ? pageSizeDefault : limit;
  throw invalid('limit', `limit must be a whole number from 0 to ${pageSizeMax}.`);
}
