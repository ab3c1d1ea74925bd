import type { MessageInitShape } from '@bufbuild/protobuf';
import { AttemptOutcomeSchema } from '../../gen/portcullis/v1/analytics_pb.ts';
import {
  type RunEventInput,
  RunEventLevel,
  RunEventLevelSchema,
  type RunEventSchema,
} from '../../gen/portcullis/v1/run_event_pb.ts';
import {
  type ListedRunSchema,
  type PromptAttemptSchema,
  type RunSchema,
  RunStateSchema,
  type WatchRunResponseSchema,
} from '../../gen/portcullis/v1/run_pb.ts';
import { invalid } from '../../identity/input.ts';
import type { ListedRun, PromptAttempt, Run, RunEvent, ToldEvent } from '../../run/model.ts';
import type { Told } from '../../run/watch.ts';
import { toEnum } from '../enums.ts';
import { fromTimestamp, toTimestamp } from '../time.ts';
import { totalsMessage } from '../usage/messages.ts';

export function runMessage(run: Run): MessageInitShape<typeof RunSchema> {
  return {
    id: run.id,
    projectId: run.projectId,
    agentId: run.agentId,
    workflow: run.workflow,
    taskId: run.taskId ?? undefined,
    promptVersion: run.promptVersion ?? undefined,
    maxRetries: run.maxRetries ?? undefined,
    state: toEnum(RunStateSchema, run.state),
    summary: run.summary,
    error: run.error,
    startTime: toTimestamp(run.startedAt),
    finishTime: toTimestamp(run.finishedAt),
  };
}

export function listedMessage({ run, totals, events, model }: ListedRun): MessageInitShape<typeof ListedRunSchema> {
  return { run: runMessage(run), totals: totalsMessage(totals), events, model };
}

export function eventMessage(event: RunEvent): MessageInitShape<typeof RunEventSchema> {
  return {
    id: event.id,
    runId: event.runId,
    agentId: event.agentId,
    type: event.type,
    level: toEnum(RunEventLevelSchema, event.level),
    message: event.message,
    data: event.data ?? undefined,
    occurTime: toTimestamp(event.occurredAt),
    recordTime: toTimestamp(event.recordedAt),
  };
}

const levels: Readonly<Record<number, ToldEvent['level']>> = {
  [RunEventLevel.UNSPECIFIED]: 'info',
  [RunEventLevel.INFO]: 'info',
  [RunEventLevel.WARN]: 'warn',
  [RunEventLevel.ERROR]: 'error',
};

/** @param at where it stands in the request @throws PortcullisError invalid_argument */
export function toldEvent(input: RunEventInput, at: string): ToldEvent {
  const { type, message, data = null, clientId = null } = input;
  const level = levels[input.level];
  if (level === undefined) throw invalid(`${at}.level`, `${at}.level must be info, warn or error.`);
  return { type, level, message, data, clientId, occurredAt: fromTimestamp(`${at}.occur_time`, input.occurTime) };
}

export function toldMessage({ position, run, event, ended }: Told): MessageInitShape<typeof WatchRunResponseSchema> {
  if (run) return { position, told: { case: 'run', value: runMessage(run) } };
  if (event) return { position, told: { case: 'event', value: eventMessage(event) } };
  return ended ? { position, told: { case: 'ended', value: runMessage(ended) } } : { position };
}

export function attemptMessage(attempt: PromptAttempt): MessageInitShape<typeof PromptAttemptSchema> {
  return {
    id: attempt.id,
    clientId: attempt.clientId,
    projectId: attempt.projectId,
    agentId: attempt.agentId,
    personId: attempt.personId ?? undefined,
    keyId: attempt.keyId ?? undefined,
    runId: attempt.runId ?? undefined,
    callId: attempt.callId,
    attemptNumber: attempt.attemptNumber,
    promptVersion: attempt.promptVersion ?? undefined,
    provider: attempt.provider,
    model: attempt.model,
    inputTokens: attempt.tokensInput,
    outputTokens: attempt.tokensOutput,
    cacheReadTokens: attempt.tokensCacheRead,
    cacheWriteTokens: attempt.tokensCacheWrite,
    costNanousd: attempt.costUsd,
    outcome: toEnum(AttemptOutcomeSchema, attempt.outcome),
    startTime: toTimestamp(attempt.startedAt),
    recordTime: toTimestamp(attempt.recordedAt),
  };
}
