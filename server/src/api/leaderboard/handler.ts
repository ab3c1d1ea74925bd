import type { ServiceImpl } from '@connectrpc/connect';
import { pageSizeDefault } from '../../base/limits.ts';
import type { AnalyticsService } from '../../gen/portcullis/v1/analytics_pb.ts';
import { LeaderboardPreset, LeaderboardPresetSchema, type ScoreParts } from '../../gen/portcullis/v1/leaderboard_pb.ts';
import { invalid } from '../../identity/input.ts';
import { presetNames, presets, type Weights } from '../../telemetry/leaderboard/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { visible } from '../visible.ts';
import { comparedMessage, differenceMessage, entryMessage, given, publishedMessage } from './messages.ts';
import { PublicAnswers } from './public-answer.ts';

type LeaderboardMethods =
  | 'getLeaderboard'
  | 'listRankedWorkflows'
  | 'comparePromptVersions'
  | 'publishWorkflow'
  | 'unpublishWorkflow'
  | 'listPublishedWorkflows'
  | 'getPublicLeaderboard';

/** The leaderboard's part of AnalyticsService. */
export function leaderboardHandler({
  leaderboard,
  publishedWorkflows,
  publicBoards,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof AnalyticsService>, LeaderboardMethods> {
  const publicAnswers = new PublicAnswers(publicBoards);
  return {
    async getLeaderboard(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const { workflow, windowDays, byModel, model = null, preset, minRuns: runsMin = null } = request;
      const weights = weightsOf(preset, request.weights);
      const board = await leaderboard.board({ projectId, workflow, windowDays, byModel, model, weights, runsMin });
      const limit = request.limit === 0 ? pageSizeDefault : request.limit;
      return {
        entries: board.entries.slice(0, limit).map(entryMessage),
        truncated: board.isCut || board.entries.length > limit,
        windowDays: board.windowDays,
        minRuns: board.runsMin,
        weights: board.weights,
      };
    },

    async listRankedWorkflows(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await leaderboard.workflows(projectId, pageTokens.read(list, request));
      return {
        workflows: page.items.map(({ id: workflow }) => ({ workflow })),
        nextPageToken: pageTokens.next(list, page),
      };
    },

    async comparePromptVersions(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const { workflow, first, second, windowDays, model = null } = request;
      const compared = await leaderboard.compare({ projectId, workflow, first, second, windowDays, model });
      return {
        first: comparedMessage(compared.first),
        second: comparedMessage(compared.second),
        tasks: compared.tasks,
        ...given('success', differenceMessage(compared.success)),
        ...given('cost', differenceMessage(compared.cost)),
        windowDays: compared.windowDays,
      };
    },

    async publishWorkflow(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { workflow, title } = request;
      const published = publishedWorkflows.publish(principal, requestId, { projectId, workflow, title });
      return { publishedWorkflow: publishedMessage(await visible(feed, published)) };
    },

    async unpublishWorkflow(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const ended = publishedWorkflows.unpublish(principal, requestId, { projectId, workflow: request.workflow });
      return { publishedWorkflow: publishedMessage(await visible(feed, ended)) };
    },

    async listPublishedWorkflows(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await publishedWorkflows.list(projectId, pageTokens.read(list, request));
      return { publishedWorkflows: page.items.map(publishedMessage), nextPageToken: pageTokens.next(list, page) };
    },

    // Of memory alone: who asks is not looked at.
    async getPublicLeaderboard({ title }) {
      return publicAnswers.of(title ?? null);
    },
  };
}

/** @throws PortcullisError invalid_argument */
function weightsOf(preset: LeaderboardPreset, weights: ScoreParts | undefined): Weights {
  if (weights === undefined) {
    if (preset === LeaderboardPreset.UNSPECIFIED) return presets.balanced;
    return presets[fromEnum(LeaderboardPresetSchema, presetNames, preset, 'preset')];
  }
  if (preset !== LeaderboardPreset.UNSPECIFIED) throw invalid('weights', 'Give preset or weights, not both.');
  const { success = 0, cost = 0, duration = 0, rating = 0, evaluation = 0 } = weights;
  return { success, cost, duration, rating, evaluation };
}
