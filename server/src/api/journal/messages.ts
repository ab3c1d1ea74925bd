import type { MessageInitShape } from '@bufbuild/protobuf';
import { ProviderTypeSchema } from '../../gen/portcullis/v1/budget_pb.ts';
import {
  type BenchmarkSchema,
  ChangelogCategorySchema,
  type ChangelogEntrySchema,
  type NoteSchema,
  type TaskSchema,
  TaskStatusSchema,
} from '../../gen/portcullis/v1/journal_pb.ts';
import { type Benchmark, type ChangelogEntry, etagOf, type Note, type Task } from '../../journal/model.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function taskMessage(task: Task): MessageInitShape<typeof TaskSchema> {
  return {
    id: task.id,
    projectId: task.projectId,
    title: task.title,
    details: task.details,
    status: toEnum(TaskStatusSchema, task.status),
    tags: [...task.tags],
    etag: etagOf(task),
    createdBy: task.createdBy,
    createTime: toTimestamp(task.createdAt),
    updateTime: toTimestamp(task.updatedAt),
  };
}

export function noteMessage(note: Note): MessageInitShape<typeof NoteSchema> {
  const { createdAt, tags, ...rest } = note;
  return { ...rest, tags: [...tags], createTime: toTimestamp(createdAt) };
}

export function changelogMessage(entry: ChangelogEntry): MessageInitShape<typeof ChangelogEntrySchema> {
  const { category, createdAt, ...rest } = entry;
  return { ...rest, category: toEnum(ChangelogCategorySchema, category), createTime: toTimestamp(createdAt) };
}

export function benchmarkMessage(benchmark: Benchmark): MessageInitShape<typeof BenchmarkSchema> {
  return {
    id: benchmark.id,
    projectId: benchmark.projectId,
    workflow: benchmark.workflow,
    providerType: toEnum(ProviderTypeSchema, benchmark.providerType),
    provider: benchmark.provider,
    model: benchmark.model,
    inputTokens: benchmark.tokensInput,
    outputTokens: benchmark.tokensOutput,
    costNanousd: benchmark.costUsd,
    latencyMs: benchmark.latencyMs,
    qualityScore: benchmark.qualityScore ?? undefined,
    notes: benchmark.notes,
    recordedBy: benchmark.recordedBy,
    recordTime: toTimestamp(benchmark.recordedAt),
  };
}
