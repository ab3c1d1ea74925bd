import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LedgerEntry, UsageTotal } from '../../budget/usage-store.ts';
import {
  AttemptOutcomeSchema,
  type AttemptSchema,
  ProvenanceSchema,
  type UsageTotalsSchema,
} from '../../gen/portcullis/v1/analytics_pb.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function totalsMessage(totals: Omit<UsageTotal, 'key'>): MessageInitShape<typeof UsageTotalsSchema> {
  return {
    attempts: totals.attempts,
    refusedAttempts: totals.refused,
    costNanousd: totals.costUsd,
    notionalNanousd: totals.notionalUsd,
    inputTokens: totals.tokensInput,
    outputTokens: totals.tokensOutput,
    cacheReadTokens: totals.tokensCacheRead,
    cacheWriteTokens: totals.tokensCacheWrite,
    reasoningTokens: totals.tokensReasoning,
  };
}

export function attemptMessage(entry: LedgerEntry): MessageInitShape<typeof AttemptSchema> {
  const { attempt } = entry;
  const { usage } = attempt;
  return {
    id: attempt.id,
    requestId: attempt.requestId,
    projectId: attempt.projectId,
    agentId: attempt.agentId ?? undefined,
    personId: attempt.personId ?? undefined,
    keyId: attempt.keyId ?? undefined,
    runId: attempt.runId ?? undefined,
    workflow: attempt.workflow ?? undefined,
    clientSession: attempt.clientSession ?? undefined,
    route: attempt.route ?? undefined,
    provider: attempt.provider ?? undefined,
    modelAsked: attempt.modelAsked ?? undefined,
    modelServed: attempt.modelServed ?? undefined,
    dialectIn: attempt.dialectIn,
    dialectOut: attempt.dialectOut ?? undefined,
    streamed: attempt.streamed,
    priceVersion: attempt.priceVersion ?? undefined,
    inputTokens: BigInt(usage.input),
    outputTokens: BigInt(usage.output),
    cacheReadTokens: BigInt(usage.cacheRead),
    cacheWrite5mTokens: BigInt(usage.cacheWrite5m),
    cacheWrite1hTokens: BigInt(usage.cacheWrite1h),
    reasoningTokens: BigInt(usage.reasoning),
    costNanousd: attempt.costUsd,
    notionalNanousd: attempt.notionalUsd,
    provenance: toEnum(ProvenanceSchema, attempt.provenance),
    outcome: toEnum(AttemptOutcomeSchema, attempt.outcome),
    errorClass: attempt.errorClass ?? undefined,
    rule: attempt.rule ?? undefined,
    startTime: toTimestamp(attempt.startedAt),
    queueMs: attempt.queueMs,
    connectMs: attempt.connectMs ?? undefined,
    firstTokenMs: attempt.firstTokenMs ?? undefined,
    totalMs: attempt.totalMs,
    overrun: attempt.overrun,
    corrects: attempt.corrects ?? undefined,
    shadowVerdicts: [...entry.shadowVerdicts],
    recordTime: toTimestamp(entry.recordedAt),
  };
}
