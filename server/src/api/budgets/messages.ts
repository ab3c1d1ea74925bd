import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BudgetStatus } from '../../budget/budget-service.ts';
import type { BudgetRecord } from '../../budget/budget-store.ts';
import type { BudgetSelector } from '../../budget/model.ts';
import {
  BudgetModeSchema,
  type BudgetSchema,
  type BudgetSelectorSchema,
  type BudgetStatusSchema,
  BudgetUnitSchema,
  BudgetWindowSchema,
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
  };
}

function selectorMessage(selector: BudgetSelector): MessageInitShape<typeof BudgetSelectorSchema> {
  const { providerType } = selector;
  return {
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

export function statusMessage({ budget, standing }: BudgetStatus): MessageInitShape<typeof BudgetStatusSchema> {
  if (!standing) return { budget: budgetMessage(budget) };
  return {
    budget: budgetMessage(budget),
    standing: {
      postedAmount: standing.posted,
      heldAmount: standing.held,
      remainingAmount: standing.remaining ?? undefined,
      resetTime: toTimestamp(standing.resetsAt),
    },
  };
}
