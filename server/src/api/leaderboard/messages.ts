import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ComparedVersionSchema,
  LeaderboardEntrySchema,
  MeasureSchema,
  PairedDifferenceSchema,
  PromptVersionSchema,
  PublishedWorkflowSchema,
  RunEvaluationSchema,
  RunRatingSchema,
} from '../../gen/portcullis/v1/leaderboard_pb.ts';
import type { PairedDifference } from '../../telemetry/leaderboard/comparison.ts';
import type { BoardEntry, Measure } from '../../telemetry/leaderboard/model.ts';
import type { Evaluation, Rating } from '../../telemetry/leaderboard/opinion-store.ts';
import type { PublishedWorkflow } from '../../telemetry/leaderboard/published-store.ts';
import type { ComparedVersion } from '../../telemetry/leaderboard/service.ts';
import type { PromptVersion } from '../../telemetry/prompts/model.ts';
import { toTimestamp } from '../time.ts';

export function promptVersionMessage(version: PromptVersion): MessageInitShape<typeof PromptVersionSchema> {
  const { registeredAt, isLabelConfirmed: labelConfirmed, ...rest } = version;
  return { ...rest, labelConfirmed, registerTime: toTimestamp(registeredAt) };
}

export function ratingMessage({ ratedAt, ...rest }: Rating): MessageInitShape<typeof RunRatingSchema> {
  return { ...rest, rateTime: toTimestamp(ratedAt) };
}

export function evaluationMessage(evaluation: Evaluation): MessageInitShape<typeof RunEvaluationSchema> {
  const { runId, evaluator, scorePpm, notes, recordedBy, recordedAt } = evaluation;
  return { runId, evaluator, score: scorePpm / 1_000_000, notes, recordedBy, recordTime: toTimestamp(recordedAt) };
}

export function publishedMessage(published: PublishedWorkflow): MessageInitShape<typeof PublishedWorkflowSchema> {
  const { projectId, workflow, title, publishedBy, publishedAt } = published;
  return { projectId, workflow, title, publishedBy, publishTime: toTimestamp(publishedAt) };
}

export function entryMessage(entry: BoardEntry): MessageInitShape<typeof LeaderboardEntrySchema> {
  const { sums, measures, standing } = entry;
  return {
    ...given('rank', standing?.rank ?? null),
    promptVersion: sums.promptVersion,
    label: sums.label ?? '',
    model: sums.model,
    ...given('score', standing?.score ?? null),
    ...given('parts', standing?.parts ?? null),
    succeeded: sums.succeeded,
    failed: sums.failed,
    cancelled: sums.cancelled,
    ...given('success', measureMessage(measures.success)),
    ...given('costPerSuccess', measureMessage(measures.costPerSuccess)),
    ...given('durationP50', measureMessage(measures.durationP50)),
    ...given('durationP95', measureMessage(measures.durationP95)),
    ...given('rating', measureMessage(measures.rating)),
    ...given('evaluation', measureMessage(measures.evaluation)),
  };
}

function measureMessage(measure: Measure | null): MessageInitShape<typeof MeasureSchema> | null {
  if (!measure) return null;
  return { value: measure.value, ...given('interval', measure.interval), n: BigInt(measure.n) };
}

export function comparedMessage(side: ComparedVersion): MessageInitShape<typeof ComparedVersionSchema> {
  const { version, runs, withoutTask, isCut } = side;
  return {
    promptVersion: promptVersionMessage(version),
    runs: BigInt(runs),
    runsWithoutTask: BigInt(withoutTask),
    truncated: isCut,
  };
}

export function differenceMessage(
  difference: PairedDifference | null,
): MessageInitShape<typeof PairedDifferenceSchema> | null {
  if (!difference) return null;
  const { interval, ...rest } = difference;
  return { ...rest, ...given('interval', interval) };
}

/** A member that is absent where its value is null. */
export function given<K extends string, T>(name: K, value: T | null): { readonly [key in K]?: T } {
  return value === null ? {} : ({ [name]: value } as { [key in K]: T });
}
