import { systemClock } from '../base/clock.ts';
import { type ErrorOptions, PortcullisError } from '../base/errors.ts';
import { clientWaitMaxS } from '../base/limits.ts';
import { formatUsd } from '../base/money.ts';
import type { BudgetUnit, BudgetWindow, ShadowVerdict, Shortfall } from './model.ts';
import { isTooMuch, waitsForOthers } from './rules.ts';

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

/** A refusal by budgets. `shortfalls` are those that it does not fit in, as far as they are known: what it would take to fit. */
export class BudgetExceeded extends PortcullisError {
  readonly shortfalls: readonly Shortfall[];

  constructor(message: string, options: ErrorOptions, shortfalls: readonly Shortfall[]) {
    super('budget_exceeded', message, options);
    this.shortfalls = shortfalls;
  }
}

/**
 * The refusal of a call by a budget: which, how much, when it resets, and what a person can do about it. Where waiting helps
 * it says for how long, and whether a client should do so by itself. `others` refuse the call too, and are not spoken of.
 */
export function budgetExceeded(shortfall: Shortfall, others: readonly Shortfall[] = []): BudgetExceeded {
  const { meter, amount, observed, limit } = shortfall;
  const { unit, window, name } = meter.budget;
  const held = observed - meter.posted;
  const options = optionsOf(shortfall);
  return new BudgetExceeded(sentence(), options, [shortfall, ...others]);

  function sentence(): string {
    if (limit === 0n) return `Budget "${name}" is 0 and denies this call; an operator can raise it.`;
    if (unit === 'concurrent_requests') return `${inFlight()} Try again soon; an operator can raise it.`;
    const allows = `Budget "${name}" allows ${inWords(unit, limit)}${windowWords[window]}`;
    const asks = `this call may take up to ${inWords(unit, amount)}`;
    if (isTooMuch(shortfall)) return `${allows}, and ${asks}; ask for less output, or have an operator raise it.`;
    const leased = meter.leased > 0n ? `, ${inWords(unit, meter.leased)} of it leased for calls to come` : '';
    const used = `${inWords(unit, meter.posted)} spent, ${inWords(unit, held)} held by calls in flight${leased}`;
    return `${allows}: ${used}, and ${asks}. ${help()}`;
  }

  function inFlight(): string {
    const allows = `allows ${inWords(unit, limit)} at once${window === 'run' ? ' in a run' : ''}`;
    return `Budget "${name}" ${allows}, and ${observed} ${observed === 1n ? 'is' : 'are'} in flight.`;
  }

  function help(): string {
    if (waitsForOthers(shortfall)) return 'It fits when those have ended: try again soon. An operator can raise it.';
    return resetOf(options);
  }
}

/** What a refusal tells besides its sentence. */
function optionsOf(shortfall: Shortfall): ErrorOptions {
  const { meter, amount, observed, limit } = shortfall;
  const { id, unit, name } = meter.budget;
  const held = observed - meter.posted;
  // Where even all of it is too little, its end is no help.
  const endsAt = isTooMuch(shortfall) ? null : meter.endsAt;
  const retryAfterS = waitsForOthers(shortfall) ? 1 : secondsUntil(endsAt);
  return {
    rule: name,
    unit,
    limit: decimalText(unit, limit),
    observed: decimalText(unit, observed),
    spent: decimalText(unit, meter.posted),
    held: decimalText(unit, held),
    remaining: decimalText(unit, remainingOf(limit, observed)),
    ...(endsAt === null ? {} : { resetsAt: new Date(endsAt).toISOString() }),
    ...(retryAfterS === null ? {} : { retryAfterS }),
    final: retryAfterS === null || retryAfterS > clientWaitMaxS,
    internal: `budget ${id}: posted ${meter.posted}, held ${held}, asked ${amount}, limit ${limit}`,
  };
}

function resetOf({ resetsAt }: ErrorOptions): string {
  return resetsAt === undefined
    ? 'An operator can raise it.'
    : `It resets at ${resetsAt}; an operator can raise it before.`;
}

function secondsUntil(ms: number | null): number | null {
  return ms === null ? null : Math.max(1, Math.ceil((ms - systemClock.now()) / 1000));
}

/** The refusal of a whole run by a budget that has nothing left, so that it would refuse each of its calls. */
export function runBudgetExceeded(shortfall: Shortfall): BudgetExceeded {
  const { meter, limit } = shortfall;
  const { unit, window, name } = meter.budget;
  const options = optionsOf(shortfall);
  const why =
    limit === 0n
      ? 'is 0 and denies every call'
      : `allows ${inWords(unit, limit)}${windowWords[window]}, all of which is spent or held`;
  const help = waitsForOthers(shortfall)
    ? 'Calls in flight may give some of it back: try again soon. An operator can raise it.'
    : resetOf(options);
  return new BudgetExceeded(`Budget "${name}" ${why}: no run is started. ${help}`, options, [shortfall]);
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

const nouns: Readonly<Record<Exclude<BudgetUnit, 'usd' | 'latency_ms'>, string>> = {
  tokens: 'token',
  requests: 'request',
  concurrent_requests: 'call',
};

function inWords(unit: BudgetUnit, amount: bigint): string {
  if (unit === 'usd') return formatUsd(amount);
  if (unit === 'latency_ms') return `${amount} ms`;
  return `${amount} ${nouns[unit]}${amount === 1n ? '' : 's'}`;
}
