import { PortcullisError } from '../base/errors.ts';
import { formatUsd } from '../base/money.ts';
import type { BudgetUnit, BudgetWindow, Meter, ShadowVerdict, Shortfall } from './model.ts';

const windowWords: Readonly<Record<BudgetWindow, string>> = {
  attempt: ' a call',
  run: ' a run',
  hour: ' an hour',
  day: ' a day',
  month: ' a month',
  lifetime: ' in all',
};

/** An amount as decimal text in its unit, as members of a refusal and the API carry it: `12.50`, `20000`. */
export function decimalText(unit: BudgetUnit, amount: bigint): string {
  return unit === 'usd' ? formatUsd(amount).replace('$', '') : amount.toString();
}

/** What a budget has left: never below nothing, though an overrun may have spent more than the limit. */
export function remainingOf(limit: bigint, observed: bigint): bigint {
  return observed < limit ? limit - observed : 0n;
}

/** The refusal of a call by a budget: which, how much, when it resets, and what a person can do about it. */
export function budgetExceeded({ meter, amount, observed, limit }: Shortfall): PortcullisError {
  const { id, unit, window, name } = meter.budget;
  const resetsAt = meter.endsAt === null ? undefined : new Date(meter.endsAt).toISOString();
  return new PortcullisError('budget_exceeded', sentence(), {
    rule: name,
    unit,
    limit: decimalText(unit, limit),
    observed: decimalText(unit, observed),
    remaining: decimalText(unit, remainingOf(limit, observed)),
    ...(resetsAt === undefined ? {} : { resetsAt }),
    internal: `budget ${id}: posted ${meter.posted}, held ${observed - meter.posted}, asked ${amount}, limit ${limit}`,
  });

  function sentence(): string {
    if (limit === 0n) return `Budget "${name}" is 0 and denies this call; an operator can raise it.`;
    const allows = `Budget "${name}" allows ${inWords(unit, limit)}${windowWords[window]}`;
    const asks = `this call may take up to ${inWords(unit, amount)}`;
    if (window === 'attempt') return `${allows}, and ${asks}; ask for less output, or have an operator raise it.`;
    const used = `${inWords(unit, meter.posted)} is spent and ${inWords(unit, observed - meter.posted)} is held by calls in flight`;
    const help =
      resetsAt === undefined
        ? 'An operator can raise it.'
        : `It resets at ${resetsAt}; an operator can raise it before.`;
    return `${allows}: ${used}, and ${asks}. ${help}`;
  }
}

/** The refusal of a whole run by a budget that would refuse each of its calls. */
export function runBudgetExceeded(budget: Meter['budget'], observed: bigint, endsAt: number | null): PortcullisError {
  const { id, unit, window, name } = budget;
  const limit = budget.limit ?? 0n;
  const resetsAt = endsAt === null ? undefined : new Date(endsAt).toISOString();
  const help =
    resetsAt === undefined ? 'An operator can raise it.' : `It resets at ${resetsAt}; an operator can raise it before.`;
  const why =
    limit === 0n
      ? 'is 0 and denies every call'
      : `allows ${inWords(unit, limit)}${windowWords[window]}, all of which is spent or held`;
  return new PortcullisError('budget_exceeded', `Budget "${name}" ${why}: no run is started. ${help}`, {
    rule: name,
    unit,
    limit: decimalText(unit, limit),
    observed: decimalText(unit, observed),
    remaining: decimalText(unit, 0n),
    ...(resetsAt === undefined ? {} : { resetsAt }),
    internal: `budget ${id}: observed ${observed}, limit ${limit}`,
  });
}

/** What a dry-run budget would have refused, as the ledger keeps it. */
export function shadowVerdict({ meter, amount, observed, limit }: Shortfall): ShadowVerdict {
  const { id, unit } = meter.budget;
  return {
    budgetId: id,
    limit: decimalText(unit, limit),
    observed: decimalText(unit, observed),
    requested: decimalText(unit, amount),
  };
}

function inWords(unit: BudgetUnit, amount: bigint): string {
  if (unit === 'usd') return formatUsd(amount);
  const noun = unit === 'tokens' ? 'token' : 'request';
  return `${amount} ${noun}${amount === 1n ? '' : 's'}`;
}
