import { formatUsd } from '../base/money.ts';
import {
  type Budget,
  BudgetMode,
  type BudgetSelector,
  type BudgetStanding,
  BudgetUnit,
  BudgetUnitSchema,
  BudgetWindowSchema,
  ProviderTypeSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import { enumWord } from './enum-words.ts';
import { type Column, localTime } from './output.ts';

export const budgetColumns: readonly Column[] = [
  { title: 'NAME' },
  { title: 'COUNTS' },
  { title: 'WINDOW' },
  { title: 'LIMIT', align: 'right' },
  { title: 'SPENT', align: 'right' },
  { title: 'HELD', align: 'right' },
  { title: 'REMAINING', align: 'right' },
  { title: 'RESETS' },
  { title: 'MODE' },
  { title: 'ID' },
];

/** One budget's cells. Where each call or run has a window of its own there is no one amount, and a dash says so. */
export function budgetRow(
  budget: Budget,
  standing: BudgetStanding | undefined,
  names: ReadonlyMap<string, string>,
): string[] {
  const amount = (value: bigint | undefined) => (value === undefined ? '-' : amountText(value, budget.unit));
  return [
    budget.name,
    selectorText(budget.selector, names),
    enumWord(BudgetWindowSchema, budget.window),
    amountText(budget.limitAmount, budget.unit),
    amount(standing?.postedAmount),
    amount(standing?.heldAmount),
    amount(standing?.remainingAmount),
    localTime(standing?.resetTime, '-'),
    budget.mode === BudgetMode.DRY_RUN ? 'dry run' : 'enforced',
    budget.id,
  ];
}

/** An amount in a budget's unit: `$0.25`, `1000 tokens`; without one `none`. */
export function amountText(amount: bigint | undefined, unit: BudgetUnit): string {
  if (amount === undefined) return 'none';
  return unit === BudgetUnit.USD ? formatUsd(amount) : `${amount} ${enumWord(BudgetUnitSchema, unit)}`;
}

/** Which calls a budget counts: `agent:reviewer model:claude-*`, or `all`. */
export function selectorText(
  selector: BudgetSelector | undefined,
  names: ReadonlyMap<string, string> = new Map(),
): string {
  const agent = selector?.agentId;
  const members: readonly (readonly [string, string | undefined])[] = [
    ['agent', agent === undefined ? undefined : (names.get(agent) ?? agent)],
    ['person', selector?.personId],
    ['key', selector?.keyId],
    ['workflow', selector?.workflow],
    ['run', selector?.runId],
    ['type', selector?.providerType === undefined ? undefined : enumWord(ProviderTypeSchema, selector.providerType)],
    ['provider', selector?.provider],
    ['model', selector?.model],
  ];
  const set = members.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}:${value ?? ''}`);
  return set.length === 0 ? 'all' : set.join(' ');
}
