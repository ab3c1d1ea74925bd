import type { ServiceImpl } from '@connectrpc/connect';
import type { NewBudget } from '../../budget/budget-input.ts';
import type { BudgetChange, BudgetName } from '../../budget/budget-service.ts';
import {
  type BudgetMode as Mode,
  budgetModes,
  type BudgetSelector,
  budgetUnits,
  budgetWindows,
  providerTypes,
} from '../../budget/model.ts';
import {
  BudgetMode,
  BudgetModeSchema,
  type BudgetSelector as SelectorMessage,
  type BudgetService,
  BudgetUnitSchema,
  BudgetWindowSchema,
  type CreateBudgetRequest,
  type GetBudgetRequest,
  ProviderTypeSchema,
  type UpdateBudgetRequest,
} from '../../gen/portcullis/v1/budget_pb.ts';
import { invalid } from '../../identity/input.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { changesIn } from '../update-mask.ts';
import { visible } from '../visible.ts';
import { budgetMessage, noticeMessage, postingMessage, statusMessage } from './messages.ts';

export function budgetHandler({
  budgets,
  feed,
  pageTokens,
  routedProviders,
}: ServiceDeps): ServiceImpl<typeof BudgetService> {
  return {
    async createBudget(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const made = budgets.create(principal, requestId, newBudget(request, projectId));
      return { budget: budgetMessage(await visible(feed, made)) };
    },

    async updateBudget(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const changed = budgets.update(principal, requestId, budgetChange(request, projectId));
      return { budget: budgetMessage(await visible(feed, changed)) };
    },

    async deleteBudget(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const deleted = budgets.delete(principal, requestId, { projectId, id: request.budgetId });
      return { budget: budgetMessage(await visible(feed, deleted)) };
    },

    async getBudget(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return { status: statusMessage(await budgets.get(projectId, budgetNamed(request)), routedProviders()) };
    },

    async listBudgets(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await budgets.list(projectId, pageTokens.read(list, request));
      const providers = routedProviders();
      const statuses = page.items.map((status) => statusMessage(status, providers));
      return { budgets: statuses, nextPageToken: pageTokens.next(list, page) };
    },

    async listBudgetNotices(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await budgets.notices(projectId, request.budgetId ?? null, pageTokens.read(list, request));
      return { notices: page.items.map(noticeMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async listLeasePostings(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await budgets.postings(projectId, request.budgetId ?? null, pageTokens.read(list, request));
      return { postings: page.items.map(postingMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

/** What a request, or a cap of a policy, says of a budget. */
export type BudgetWords = Pick<
  CreateBudgetRequest,
  'name' | 'selector' | 'unit' | 'window' | 'timeZone' | 'limitAmount' | 'mode' | 'notifyPercents'
>;

/** @throws PortcullisError invalid_argument */
export function newBudget(request: BudgetWords, projectId: string): NewBudget {
  const { name, selector, unit, window, timeZone, limitAmount, mode, notifyPercents } = request;
  return {
    projectId,
    name,
    selector: newSelector(selector),
    unit: fromEnum(BudgetUnitSchema, budgetUnits, unit, 'unit'),
    window: fromEnum(BudgetWindowSchema, budgetWindows, window, 'window'),
    timeZone: timeZone === '' ? 'UTC' : timeZone,
    limit: limitAmount ?? null,
    mode: mode === BudgetMode.UNSPECIFIED ? 'enforce' : budgetMode(mode),
    notifyPercents: notifyPercents?.percents,
  };
}

function newSelector(selector: SelectorMessage | undefined): BudgetSelector {
  const providerType = selector?.providerType;
  return {
    teamId: selector?.teamId ?? null,
    personId: selector?.personId ?? null,
    agentId: selector?.agentId ?? null,
    keyId: selector?.keyId ?? null,
    workflow: selector?.workflow ?? null,
    runId: selector?.runId ?? null,
    providerType:
      providerType === undefined
        ? null
        : fromEnum(ProviderTypeSchema, providerTypes, providerType, 'selector.provider_type'),
    provider: selector?.provider ?? null,
    model: selector?.model ?? null,
  };
}

function budgetChange(request: UpdateBudgetRequest, projectId: string): BudgetChange {
  const { budgetId: id, updateMask, name, limitAmount, mode, notifyPercents } = request;
  const changes = changesIn(updateMask, { name, limit_amount: limitAmount, mode, notify_percents: notifyPercents });
  return {
    projectId,
    id,
    name: changes.has('name') ? (name ?? '') : undefined,
    limit: changes.has('limit_amount') ? (limitAmount ?? null) : undefined,
    mode: changes.has('mode') ? budgetMode(mode ?? BudgetMode.UNSPECIFIED) : undefined,
    notifyPercents: changes.has('notify_percents') ? (notifyPercents?.percents ?? []) : undefined,
  };
}

function budgetNamed({ budget }: GetBudgetRequest): BudgetName {
  if (budget.case === 'budgetId') return { id: budget.value };
  if (budget.case === 'name') return { name: budget.value };
  throw invalid('budget_id', 'budget_id or name must say which budget.');
}

function budgetMode(mode: BudgetMode): Mode {
  return fromEnum(BudgetModeSchema, budgetModes, mode, 'mode');
}
