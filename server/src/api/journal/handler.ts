import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { ProviderTypeSchema } from '../../gen/portcullis/v1/budget_pb.ts';
import {
  ChangelogCategorySchema,
  type JournalService,
  TaskStatusSchema,
  type UpdateTaskRequest,
} from '../../gen/portcullis/v1/journal_pb.ts';
import { benchmarkProviderTypes, changelogCategories, type TaskContent, taskStatuses } from '../../journal/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { changesIn } from '../update-mask.ts';
import { benchmarkMessage, changelogMessage, noteMessage, taskMessage } from './messages.ts';

export function journalHandler(deps: ServiceDeps): ServiceImpl<typeof JournalService> {
  return { ...taskMethods(deps), ...noteMethods(deps), ...changelogMethods(deps), ...benchmarkMethods(deps) };
}

type Part<Methods extends keyof ServiceImpl<typeof JournalService>> = Pick<ServiceImpl<typeof JournalService>, Methods>;

function taskMethods({
  tasks,
  pageTokens,
}: ServiceDeps): Part<'createTask' | 'getTask' | 'updateTask' | 'deleteTask' | 'listTasks'> {
  return {
    async createTask(request, context) {
      const { title, details, tags } = request;
      const status = request.status === 0 ? 'todo' : statusOf(request.status);
      return { task: taskMessage(await tasks.create({ ...writer(request, context), title, details, status, tags })) };
    },

    async getTask(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return { task: taskMessage(await tasks.get(projectId, request.taskId)) };
    },

    async updateTask(request, context) {
      const change = changeIn(request);
      return { task: taskMessage(await tasks.update({ ...changed(request, context), change })) };
    },

    async deleteTask(request, context) {
      return { task: taskMessage(await tasks.delete(changed(request, context))) };
    },

    async listTasks(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const status = request.status === 0 ? null : statusOf(request.status);
      const page = await tasks.list(projectId, status, pageTokens.read(list, request));
      return { tasks: page.items.map(taskMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function noteMethods({ journal, pageTokens }: ServiceDeps): Part<'createNote' | 'deleteNote' | 'listNotes'> {
  return {
    async createNote(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { title, body, tags } = request;
      const note = { projectId, title, body, tags };
      return { note: noteMessage(await journal.createNote(principal, requestId, note)) };
    },

    async deleteNote(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      return { note: noteMessage(await journal.deleteNote(principal, requestId, projectId, request.noteId)) };
    },

    async listNotes(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await journal.listNotes(projectId, pageTokens.read(list, request));
      return { notes: page.items.map(noteMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function changelogMethods({ journal, pageTokens }: ServiceDeps): Part<'appendChangelog' | 'listChangelog'> {
  return {
    async appendChangelog(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { summary, details } = request;
      const category = request.category === 0 ? 'ops' : categoryOf(request.category);
      const entry = { projectId, category, summary, details };
      return { entry: changelogMessage(await journal.appendChangelog(principal, requestId, entry)) };
    },

    async listChangelog(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const category = request.category === 0 ? null : categoryOf(request.category);
      const page = await journal.listChangelog(projectId, category, pageTokens.read(list, request));
      return { entries: page.items.map(changelogMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function benchmarkMethods({ journal, pageTokens }: ServiceDeps): Part<'recordBenchmark' | 'listBenchmarks'> {
  return {
    async recordBenchmark(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const benchmark = await journal.recordBenchmark(principal, {
        projectId,
        workflow: request.workflow,
        providerType: fromEnum(ProviderTypeSchema, benchmarkProviderTypes, request.providerType, 'provider_type'),
        provider: request.provider,
        model: request.model,
        tokensInput: request.inputTokens,
        tokensOutput: request.outputTokens,
        costUsd: request.costNanousd,
        latencyMs: request.latencyMs,
        qualityScore: request.qualityScore ?? null,
        notes: request.notes,
      });
      return { benchmark: benchmarkMessage(benchmark) };
    },

    async listBenchmarks(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await journal.listBenchmarks(projectId, request.workflow ?? null, pageTokens.read(list, request));
      return { benchmarks: page.items.map(benchmarkMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

interface InProject {
  readonly projectId?: string | undefined;
}

function writer({ projectId: named }: InProject, context: HandlerContext) {
  const { principal: by, requestId, projectId } = callerOf(context, named);
  return { by, requestId, projectId };
}

function changed(request: InProject & { readonly taskId: string; readonly etag: string }, context: HandlerContext) {
  const { taskId: id, etag } = request;
  return { ...writer(request, context), id, etag: etag === '' ? null : etag };
}

/** What is named and not given is cleared, where it can be empty. */
function changeIn({ updateMask, title, details, status, tags }: UpdateTaskRequest): Partial<TaskContent> {
  const changes = changesIn(updateMask, { title, details, status, tags: tags.length === 0 ? undefined : tags });
  return {
    ...(changes.has('title') && { title: title ?? '' }),
    ...(changes.has('details') && { details: details ?? '' }),
    ...(changes.has('status') && { status: statusOf(status ?? 0) }),
    ...(changes.has('tags') && { tags }),
  };
}

const statusOf = (status: number) => fromEnum(TaskStatusSchema, taskStatuses, status, 'status');
const categoryOf = (category: number) => fromEnum(ChangelogCategorySchema, changelogCategories, category, 'category');
