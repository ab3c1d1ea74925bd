import type { ServiceImpl } from '@connectrpc/connect';
import {
  BillSourceSchema,
  MatchStateSchema,
  type ReconciliationService,
} from '../../gen/portcullis/v1/reconciliation_pb.ts';
import { billSources, matchStates } from '../../reconciliation/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import {
  figureOf,
  importMessage,
  projectDayMessage,
  reconciledDayMessage,
  summaryMessage,
  toleranceOf,
} from './messages.ts';

export function reconciliationHandler({
  reconciliation,
  pageTokens,
}: ServiceDeps): ServiceImpl<typeof ReconciliationService> {
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
