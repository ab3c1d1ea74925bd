import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OpenHold } from '../../budget/hold-list-store.ts';
import type { UsageTotal } from '../../budget/usage-store.ts';
import type { LedgerEntry } from '../../budget/usage-store-list.ts';
import {
  AttemptOutcomeSchema,
  type AttemptSchema,
  type HoldSchema,
  ProvenanceSchema,
  type UsageTotalsSchema,
} from '../../gen/portcullis/v1/analytics_pb.ts';
import { BudgetUnitSchema } from '../../gen/portcullis/v1/budget_pb.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function totalsMessage(totals: Omit<UsageTotal, 'key'>): MessageInitShape<typeof UsageTotalsSchema> {
  return {
    attempts: totals.attempts,
    refusedAttempts: totals.refused,
    costNanousd: totals.costUsd,
    estimatedNanousd: totals.estimatedUsd,
    measuredNanousd: totals.measuredUsd,
    reconciledNanousd: totals.reconciledUsd,
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
    attemptNumber: attempt.attemptNo,
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
    heldNanousd: entry.heldUsd,
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

export function holdMessage(hold: OpenHold): MessageInitShape<typeof HoldSchema> {
  return {
    attemptId: hold.id,
    requestId: hold.requestId,
    projectId: hold.projectId,
    agentId: hold.agentId ?? undefined,
    keyId: hold.keyId ?? undefined,
    runId: hold.runId ?? undefined,
    workflow: hold.workflow ?? undefined,
    provider: hold.provider ?? undefined,
    modelAsked: hold.modelAsked ?? undefined,
    modelServed: hold.modelServed ?? undefined,
    heldNanousd: hold.worstUsd,
    amounts: hold.amounts.map((held) => ({ ...held, unit: toEnum(BudgetUnitSchema, held.unit) })),
    createTime: toTimestamp(hold.createdAt),
    deadlineTime: toTimestamp(hold.deadlineAt),
  };
}
