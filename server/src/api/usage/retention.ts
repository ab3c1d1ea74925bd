import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { ledgerDaysKeptMax, ledgerDaysKeptMin } from '../../base/limits.ts';
import { previewRetention, type Retention } from '../../budget/retention.ts';
import type { DaySize } from '../../budget/retention-store.ts';
import type { AnalyticsService, GetLedgerRetentionResponseSchema } from '../../gen/portcullis/v1/analytics_pb.ts';
import type { TelemetryTableRetentionSchema } from '../../gen/portcullis/v1/retention_pb.ts';
import { invalid } from '../../identity/input.ts';
import { previewTelemetryRetention, type TelemetryRetention } from '../../telemetry/days.ts';
import type { ServiceDeps } from '../deps.ts';

type RetentionMethods = 'getLedgerRetention' | 'getTelemetryRetention';

/** Which days would go, of the ledger and of telemetry; nothing goes by this. */
export function retentionHandler({
  pool,
  ledgerDaysKept,
  telemetryDaysKept,
}: ServiceDeps): Pick<ServiceImpl<typeof AnalyticsService>, RetentionMethods> {
  return {
    async getLedgerRetention({ keptDays }) {
      const days = keptDays === undefined ? ledgerDaysKept : daysToKeep(keptDays);
      return ledgerMessage(days, await previewRetention(pool, days));
    },

    async getTelemetryRetention({ keptDays }) {
      const asked = keptDays === undefined ? null : daysToKeep(keptDays);
      const days = asked === null ? telemetryDaysKept : { run_events: asked, benchmarks: asked };
      return { tables: (await previewTelemetryRetention(pool, days)).map(tableMessage) };
    },
  };
}

function daysToKeep(days: number): number {
  if (days === 0 || (days >= ledgerDaysKeptMin && days <= ledgerDaysKeptMax)) return days;
  throw invalid('kept_days', `kept_days must be 0 (all) or from ${ledgerDaysKeptMin} to ${ledgerDaysKeptMax}.`);
}

function ledgerMessage(
  keptDays: number,
  { over, kept }: Retention,
): MessageInitShape<typeof GetLedgerRetentionResponseSchema> {
  return {
    keptDays,
    over: over.map(({ day, rows, costUsd, bytes, stays }) => ({
      date: day,
      rows,
      costNanousd: costUsd,
      sizeBytes: bytes,
      stays: stays ?? '',
    })),
    ...keptMessage(kept),
  };
}

function tableMessage({
  table,
  keptDays,
  over,
  kept,
}: TelemetryRetention): MessageInitShape<typeof TelemetryTableRetentionSchema> {
  return {
    table,
    keptDays,
    over: over.map(({ day, rows, bytes, stays }) => ({ date: day, rows, sizeBytes: bytes, stays: stays ?? '' })),
    ...keptMessage(kept),
  };
}

function keptMessage(kept: readonly DaySize[]) {
  return {
    oldestKeptDate: kept[0]?.day ?? '',
    keptSizeBytes: kept.reduce((sum, { bytes }) => sum + bytes, 0n),
  };
}
