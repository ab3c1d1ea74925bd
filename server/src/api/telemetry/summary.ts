import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { pageSizeDefault } from '../../base/limits.ts';
import { summaryDefaultMs } from '../../base/telemetry-limits.ts';
import type { AnalyticsService } from '../../gen/portcullis/v1/analytics_pb.ts';
import {
  type GetTelemetrySummaryResponseSchema,
  TelemetryGroup,
  TelemetryGroupSchema,
  type TelemetryTotalsSchema,
} from '../../gen/portcullis/v1/telemetry_summary_pb.ts';
import type { Summary, SummaryTotals } from '../../telemetry/summary.ts';
import { isTime, seriesGroups, type SummaryGroup, timeGroups } from '../../telemetry/summary-store.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp, toTimestamp } from '../time.ts';

const groups = [...seriesGroups, ...timeGroups];

export function telemetrySummaryHandler({
  summaries,
  clock,
}: ServiceDeps): Pick<ServiceImpl<typeof AnalyticsService>, 'getTelemetrySummary'> {
  return {
    async getTelemetrySummary(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const { workflow = null, promptVersion = null, model = null, agentId = null, groupBy } = request;
      const group =
        groupBy === TelemetryGroup.UNSPECIFIED ? null : fromEnum(TelemetryGroupSchema, groups, groupBy, 'group_by');
      const to = fromTimestamp('end_time', request.endTime) ?? clock.now();
      const from = fromTimestamp('start_time', request.startTime) ?? to - summaryDefaultMs;
      const limit = request.limit === 0 ? pageSizeDefault : request.limit;
      const filter = { projectId, workflow, promptVersion, model, agentId };
      return summaryMessage(await summaries.get(principal, filter, { from, to }, group, limit), group);
    },
  };
}

function summaryMessage(
  { window, countedUntil, totals, rows, truncated, incomplete, events, runs }: Summary,
  group: SummaryGroup | null,
): MessageInitShape<typeof GetTelemetrySummaryResponseSchema> {
  const of = (counts: ReadonlyMap<string, bigint>, name: string) => counts.get(name) ?? 0n;
  return {
    startTime: toTimestamp(window.from),
    endTime: toTimestamp(window.to),
    countedUntil: toTimestamp(countedUntil),
    totals: totalsMessage(totals),
    rows: rows.map((row) => ({
      key: isTime(group) ? new Date(Number(row.key)).toISOString() : row.key,
      totals: totalsMessage(row.totals),
    })),
    truncated,
    incomplete,
    events: events ? { info: of(events, 'info'), warn: of(events, 'warn'), error: of(events, 'error') } : undefined,
    runs: runs
      ? {
          running: of(runs.byState, 'running'),
          succeeded: of(runs.byState, 'succeeded'),
          failed: of(runs.byState, 'failed'),
          cancelled: of(runs.byState, 'cancelled'),
          truncated: runs.truncated,
        }
      : undefined,
  };
}

function totalsMessage({ sums, successRate, latency }: SummaryTotals): MessageInitShape<typeof TelemetryTotalsSchema> {
  return {
    attempts: sums.attempts,
    succeeded: sums.succeeded,
    failed: sums.failed,
    timedOut: sums.timed_out,
    refused: sums.refused,
    killed: sums.killed,
    overBudget: sums.over_budget,
    clientClosed: sums.client_closed,
    retries: sums.retries,
    inputTokens: sums.tokens_input,
    outputTokens: sums.tokens_output,
    cacheReadTokens: sums.tokens_cache_read,
    cacheWriteTokens: sums.tokens_cache_write,
    reasoningTokens: sums.tokens_reasoning,
    costNanousd: sums.cost_nanousd,
    estimatedNanousd: sums.estimated_nanousd,
    notionalNanousd: sums.notional_nanousd,
    successRate: successRate ?? undefined,
    latency: latency ? { meanMs: latency.meanMs, ...latency.percentiles } : undefined,
  };
}
