import type { ServiceImpl } from '@connectrpc/connect';
import type { AnalyticsService } from '../../gen/portcullis/v1/analytics_pb.ts';
import { digestOfPrompt } from '../../telemetry/prompts/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { evaluationMessage, promptVersionMessage, ratingMessage } from './messages.ts';

type PromptMethods =
  | 'registerPromptVersion'
  | 'getPromptVersion'
  | 'listPromptVersions'
  | 'ratePrompt'
  | 'listRunRatings'
  | 'recordEvaluation'
  | 'listRunEvaluations';

/** Versions of prompts, and what others think of their runs: a part of AnalyticsService. */
export function promptHandler({
  promptVersions,
  opinions,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof AnalyticsService>, PromptMethods> {
  return {
    async registerPromptVersion(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { workflow, label, notes, version } = request;
      const digest = version.case === 'content' ? digestOfPrompt(version.value) : (version.value ?? '');
      const asked = { projectId, workflow, label, notes, digest };
      return { promptVersion: promptVersionMessage(await promptVersions.register(principal, requestId, asked)) };
    },

    async getPromptVersion(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const { workflow, version } = request;
      return { promptVersion: promptVersionMessage(await promptVersions.get(projectId, workflow, version)) };
    },

    async listPromptVersions(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await promptVersions.list(projectId, request.workflow ?? null, pageTokens.read(list, request));
      return { promptVersions: page.items.map(promptVersionMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async ratePrompt(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const { runId, rating, comment } = request;
      return { rating: ratingMessage(await opinions.rate(principal, { projectId, runId, rating, comment })) };
    },

    async listRunRatings(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const run = { projectId, runId: request.runId };
      const page = await opinions.ratings(principal, run, pageTokens.read(list, request));
      return { ratings: page.items.map(ratingMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async recordEvaluation(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const { runId, evaluator, score, notes } = request;
      const asked = { projectId, runId, evaluator, score, notes };
      return { evaluation: evaluationMessage(await opinions.evaluate(principal, asked)) };
    },

    async listRunEvaluations(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const run = { projectId, runId: request.runId };
      const page = await opinions.evaluations(principal, run, pageTokens.read(list, request));
      return { evaluations: page.items.map(evaluationMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}
