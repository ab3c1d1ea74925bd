import {
  type Budget,
  BudgetMode,
  type BudgetNotice,
  type BudgetStatus,
  BudgetUnit,
  BudgetWindow,
  BudgetWindowSchema,
  type LeasePosting,
  ProviderTypeSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import { amountText } from './budget-amounts.ts';
import { enumWord } from './enum-words.ts';
import { present } from './gate-command.ts';
import { type Column, localTime } from './output.ts';

const right = (title: string): Column => ({ title, align: 'right' });

export const budgetColumns: readonly Column[] = [
  { title: 'NAME' },
  { title: 'COUNTS' },
  { title: 'WINDOW' },
  right('LIMIT'),
  right('USED'),
  right('HELD'),
  right('LEFT'),
  { title: 'FULL', align: 'right', format: fullFormat },
  { title: 'RESETS' },
  { title: 'MODE' },
  { title: 'ID' },
];

/** One budget's cells. Where each call or run has a window of its own there is no one amount, and a dash says so. */
export function budgetRow(status: BudgetStatus): string[] {
  const budget = present(status.budget);
  const { standing } = status;
  const amount = (value: bigint | undefined) => (value === undefined ? '-' : amountText(value, budget.unit));
  return [
    budget.name,
    selectorText(status),
    windowText(budget),
    limitText(budget),
    amount(standing?.postedAmount),
    amount(standing?.heldAmount),
    amount(standing?.remainingAmount),
    fullText(status),
    localTime(standing?.resetTime, '-'),
    budget.managedByPolicy ? `${modeText(budget.mode)}, policy` : modeText(budget.mode),
    budget.id,
  ];
}

const calendarWindows: ReadonlySet<BudgetWindow> = new Set([BudgetWindow.HOUR, BudgetWindow.DAY, BudgetWindow.MONTH]);

/** One budget in full. */
export function budgetFields(status: BudgetStatus): (readonly [string, string | undefined])[] {
  const budget = present(status.budget);
  const { standing, idleReason } = status;
  const amount = (value: bigint | undefined) => (value === undefined ? undefined : amountText(value, budget.unit));
  return [
    ['id', budget.id],
    ['name', budget.name],
    ['counts', selectorText({ ...status, idleReason: undefined })],
    ['idle', idleReason === undefined ? undefined : `counts no further call, since ${idleReason}`],
    ['limit', limitText(budget)],
    ['window', calendarWindows.has(budget.window) ? `${windowText(budget)} (${budget.timeZone})` : windowText(budget)],
    ['mode', budget.mode === BudgetMode.DRY_RUN ? 'dry run: refuses nothing' : 'enforced'],
    ['used', amount(standing?.postedAmount)],
    ['held', amount(standing?.heldAmount)],
    ['of that leased', standing?.leasedAmount ? amount(standing.leasedAmount) : undefined],
    ['left', amount(standing?.remainingAmount)],
    ['full', standing === undefined ? undefined : fullText(status)],
    ['resets', localTime(standing?.resetTime)],
    [
      'notices',
      budget.notifyPercents.length === 0 ? 'none' : budget.notifyPercents.map((one) => `${one} %`).join(', '),
    ],
    ['owner', budget.managedByPolicy ? 'the policy: it is a cap of it' : undefined],
    ['created', localTime(budget.createTime)],
    ['created by', budget.createdBy],
  ];
}

export const noticeColumns: readonly Column[] = [
  { title: 'TIME' },
  { title: 'BUDGET' },
  right('REACHED'),
  right('USED'),
  right('LIMIT'),
  { title: 'WINDOW' },
  { title: 'MODE' },
];

export function noticeRow(notice: BudgetNotice): string[] {
  return [
    localTime(notice.noticeTime),
    notice.budgetName,
    `${notice.percent} %`,
    amountText(notice.postedAmount, notice.unit),
    amountText(notice.limitAmount, notice.unit),
    notice.windowKey,
    modeText(notice.mode),
  ];
}

export const postingColumns: readonly Column[] = [
  { title: 'TIME' },
  { title: 'BUDGET' },
  right('AMOUNT'),
  { title: 'WINDOW' },
  { title: 'PROCESS' },
];

/** A negative amount was taken back, since the process came back and told what it had spent. */
export function postingRow(posting: LeasePosting): string[] {
  return [
    localTime(posting.postTime),
    posting.budgetName,
    amountText(posting.amount, posting.unit),
    posting.windowKey,
    posting.instanceId,
  ];
}

/** Compares budgets for a list: the fullest first, those that have nothing to be full of last. */
export function byFullness(one: BudgetStatus, other: BudgetStatus): number {
  return fullness(other) - fullness(one);
}

/** Used and held of the limit: 1 is full, and so is a limit of 0; -1 where there is no limit, or no one window. */
function fullness({ budget, standing }: BudgetStatus): number {
  const limit = budget?.limitAmount;
  if (limit === undefined || standing === undefined) return -1;
  if (limit === 0n) return 1;
  // In ten-thousandths before it is a float: amounts may have more digits than a float holds.
  return Number(((standing.postedAmount + standing.heldAmount) * 10_000n) / limit) / 10_000;
}

function fullText(status: BudgetStatus): string {
  const full = fullness(status);
  return full < 0 ? '-' : `${Math.floor(full * 100)} %`;
}

function fullFormat(text: string): 'red' | 'yellow' | undefined {
  const percent = parseInt(text, 10);
  return percent >= 100 ? 'red' : percent >= 80 ? 'yellow' : undefined;
}

function limitText({ limitAmount, unit }: Budget): string {
  return limitAmount === undefined ? 'none' : amountText(limitAmount, unit);
}

function windowText({ unit, window }: Budget): string {
  const inFlight = unit === BudgetUnit.CONCURRENT_REQUESTS && window === BudgetWindow.LIFETIME;
  return inFlight ? 'at a time' : enumWord(BudgetWindowSchema, window);
}

function modeText(mode: BudgetMode): string {
  return mode === BudgetMode.DRY_RUN ? 'dry run' : 'enforced';
}

/** Which calls a budget counts: `agent:reviewer model:claude-*`, or `all`; and why none any more. */
function selectorText({ budget, agentName, personName, teamName, idleReason }: BudgetStatus): string {
  const selector = budget?.selector;
  const members: readonly (readonly [string, string | undefined])[] = [
    ['agent', agentName ?? selector?.agentId],
    ['person', personName ?? selector?.personId],
    ['team', teamName ?? selector?.teamId],
    ['key', selector?.keyId],
    ['workflow', selector?.workflow],
    ['run', selector?.runId],
    ['type', selector?.providerType === undefined ? undefined : enumWord(ProviderTypeSchema, selector.providerType)],
    ['provider', selector?.provider],
    ['model', selector?.model],
  ];
  const set = members.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}:${value ?? ''}`);
  const text = set.length === 0 ? 'all' : set.join(' ');
  return idleReason === undefined ? text : `${text} (idle: ${idleReason})`;
}
