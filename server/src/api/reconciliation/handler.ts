import type { ServiceImpl } from '@connectrpc/connect';
import { AttemptOutcomeSchema } from '../../gen/portcullis/v1/analytics_pb.ts';
import {
  BillSourceSchema,
  MatchStateSchema,
  type ReconciliationService,
} from '../../gen/portcullis/v1/reconciliation_pb.ts';
import { invalid } from '../../identity/input.ts';
import { billSources, matchStates, toldOutcomes } from '../../reconciliation/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import {
  figureOf,
  importMessage,
  projectDayMessage,
  provisionalMessage,
  reconciledDayMessage,
  summaryMessage,
  toleranceOf,
} from './messages.ts';

export function reconciliationHandler(deps: ServiceDeps): ServiceImpl<typeof ReconciliationService> {
  const { provisional, pageTokens } = deps;
  return {
    ...billMethods(deps),

    async recordPromptAttempt(request, context) {
      const { principal } = callerOf(context, undefined);
      const startedAt = fromTimestamp('start_time', request.startTime);
      if (startedAt === null) throw invalid('start_time', 'start_time is required: say when the call started.');
      const attempt = await provisional.record(principal, {
        clientId: request.clientId,
        runId: request.runId ?? null,
        provider: request.provider,
        model: request.model,
        tokensInput: request.inputTokens,
        tokensOutput: request.outputTokens,
        tokensCacheRead: request.cacheReadTokens,
        tokensCacheWrite: request.cacheWriteTokens,
        costUsd: request.costNanousd,
        outcome: fromEnum(AttemptOutcomeSchema, toldOutcomes, request.outcome, 'outcome'),
        startedAt,
      });
      return { attempt: provisionalMessage(attempt) };
    },

    async listProvisional(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const filter = {
        projectId,
        agentId: principal.agentId ?? request.agentId ?? null,
        runId: request.runId ?? null,
        from: fromTimestamp('start_time', request.startTime),
        to: fromTimestamp('end_time', request.endTime),
      };
      const page = await provisional.list(filter, pageTokens.read(list, request));
      return { attempts: page.items.map(provisionalMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

type BillMethods = 'importBill' | 'matchBills' | 'listReconciledDays' | 'listBillImports' | 'listProjectDays';

function billMethods({
  reconciliation,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof ReconciliationService>, BillMethods> {
  return {
    async importBill(request, context) {
      const { principal, requestId } = callerOf(context, undefined);
      const { billImport, repeated, ...matched } = await reconciliation.importBill(principal, requestId, {
        source: fromEnum(BillSourceSchema, billSources, request.source, 'source'),
        figures: request.figures.map(figureOf),
        wholeDays: request.wholeDays.map(({ provider, day }) => ({ provider, day })),
        projectId: request.projectId ?? null,
        tolerance: toleranceOf(request.tolerance),
        allowUnknownProviders: request.allowUnknownProviders,
      });
      return { billImport: importMessage(billImport), repeatedImport: repeated, summary: summaryMessage(matched) };
    },

    async matchBills(request, context) {
      const { principal, requestId } = callerOf(context, undefined);
      const { provider = null, firstDay, lastDay } = request;
      const tolerance = toleranceOf(request.tolerance);
      const order = { provider, firstDay, lastDay, tolerance };
      return { summary: summaryMessage(await reconciliation.match(principal, requestId, order)) };
    },

    async listReconciledDays(request, context) {
      const { projectId } = callerOf(context, undefined);
      const list = { method: context.method, projectId };
      const { provider = null, firstDay = null, lastDay = null } = request;
      const state = request.state === 0 ? null : fromEnum(MatchStateSchema, matchStates, request.state, 'state');
      const filter = { provider, firstDay, lastDay, state, projectId: null };
      const page = await reconciliation.listMatches(filter, pageTokens.read(list, request));
      return { days: page.items.map(reconciledDayMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async listBillImports(request, context) {
      const { projectId } = callerOf(context, undefined);
      const list = { method: context.method, projectId };
      const page = await reconciliation.listImports(pageTokens.read(list, request));
      return { imports: page.items.map(importMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async listProjectDays(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const { provider = null, firstDay = null, lastDay = null } = request;
      const filter = { provider, firstDay, lastDay, state: null, projectId };
      const page = await reconciliation.listMatches(filter, pageTokens.read(list, request));
      const days = page.items.map((row) => projectDayMessage(row, projectId));
      return { days, nextPageToken: pageTokens.next(list, page) };
    },
  };
}
