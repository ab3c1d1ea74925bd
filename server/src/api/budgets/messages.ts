import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BudgetStatus } from '../../budget/budget-service.ts';
import type { BudgetRecord } from '../../budget/budget-store.ts';
import type { BudgetSelector } from '../../budget/model.ts';
import type { PostingRecord } from '../../budget/leases/postings-store.ts';
import type { NoticeRecord } from '../../budget/notices-store.ts';
import {
  BudgetModeSchema,
  type BudgetNoticeSchema,
  type BudgetSchema,
  type BudgetSelectorSchema,
  type BudgetStatusSchema,
  BudgetUnitSchema,
  BudgetWindowSchema,
  type LeasePostingSchema,
  ProviderTypeSchema,
} from '../../gen/portcullis/v1/budget_pb.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function budgetMessage(budget: BudgetRecord): MessageInitShape<typeof BudgetSchema> {
  return {
    id: budget.id,
    projectId: budget.projectId,
    name: budget.name,
    selector: selectorMessage(budget.selector),
    unit: toEnum(BudgetUnitSchema, budget.unit),
    window: toEnum(BudgetWindowSchema, budget.window),
    timeZone: budget.timeZone,
    limitAmount: budget.limit ?? undefined,
    mode: toEnum(BudgetModeSchema, budget.mode),
    createTime: toTimestamp(budget.createdAt),
    createdBy: budget.createdBy,
    notifyPercents: [...budget.notifyPercents],
    managedByPolicy: budget.managedByPolicy,
  };
}

export function selectorMessage(selector: BudgetSelector): MessageInitShape<typeof BudgetSelectorSchema> {
  const { providerType } = selector;
  return {
    teamId: selector.teamId ?? undefined,
    personId: selector.personId ?? undefined,
    agentId: selector.agentId ?? undefined,
    keyId: selector.keyId ?? undefined,
    workflow: selector.workflow ?? undefined,
    runId: selector.runId ?? undefined,
    providerType: providerType === null ? undefined : toEnum(ProviderTypeSchema, providerType),
    provider: selector.provider ?? undefined,
    model: selector.model ?? undefined,
  };
}

/** @param providers those to which any route leads, by name */
export function statusMessage(
  { budget, standing, subject }: BudgetStatus,
  providers: ReadonlySet<string>,
): MessageInitShape<typeof BudgetStatusSchema> {
  const { provider } = budget.selector;
  const unrouted = provider === null || providers.has(provider) ? undefined : 'no route leads to its provider';
  return {
    budget: budgetMessage(budget),
    ...(standing && {
      standing: {
        postedAmount: standing.posted,
        heldAmount: standing.held,
        leasedAmount: standing.leased,
        remainingAmount: standing.remaining ?? undefined,
        resetTime: toTimestamp(standing.resetsAt),
      },
    }),
    idleReason: subject.idleReason ?? unrouted,
    agentName: subject.agentName ?? undefined,
    personName: subject.personName ?? undefined,
    teamName: subject.teamName ?? undefined,
  };
}

export function noticeMessage(notice: NoticeRecord): MessageInitShape<typeof BudgetNoticeSchema> {
  return {
    id: notice.id,
    budgetId: notice.budgetId,
    budgetName: notice.budgetName,
    unit: toEnum(BudgetUnitSchema, notice.unit),
    window: toEnum(BudgetWindowSchema, notice.window),
    windowKey: notice.windowKey,
    percent: notice.percent,
    postedAmount: notice.posted,
    limitAmount: notice.limit,
    mode: toEnum(BudgetModeSchema, notice.mode),
    noticeTime: toTimestamp(notice.at),
  };
}

export function postingMessage(posting: PostingRecord): MessageInitShape<typeof LeasePostingSchema> {
  return {
    budgetId: posting.budgetId,
    budgetName: posting.budgetName,
    unit: toEnum(BudgetUnitSchema, posting.unit),
    windowKey: posting.windowKey,
    amount: posting.amount,
    instanceId: posting.instanceId,
    postTime: toTimestamp(posting.postedAt),
  };
}
