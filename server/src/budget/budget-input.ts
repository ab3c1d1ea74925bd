import { attemptMsMin, modelNameCharsMax, nameCharsMax, notifyPercentMax, notifyPercentsMax } from '../base/limits.ts';
import { maxAmount } from '../base/money.ts';
import { checkLine, checkName, invalid } from '../identity/input.ts';
import { canonicalTimeZone } from './calendar.ts';
import { type Budget, type BudgetSelector, type BudgetUnit, type BudgetWindow, budgetWindows } from './model.ts';
import type { SelectorFacts } from './selector-store.ts';

export interface NewBudget extends Omit<Budget, 'id'> {
  /** At what percents of the limit somebody is told; undefined is 80 and 100, where there is anything to tell of. */
  readonly notifyPercents?: readonly number[] | undefined;
}

export type CheckedBudget = Omit<Budget, 'id'> & { readonly notifyPercents: readonly number[] };

const notifyPercentsDefault = [80, 100];

/** Units that do not go with every window, and why. */
const windowsOfUnit: Readonly<
  Partial<Record<BudgetUnit, { readonly windows: readonly BudgetWindow[]; readonly because: string }>>
> = {
  requests: {
    windows: budgetWindows.filter((window) => window !== 'attempt'),
    because: 'each attempt is one request',
  },
  concurrent_requests: {
    windows: ['run', 'lifetime'],
    because: 'it counts calls in flight, of which no calendar begins anew',
  },
  latency_ms: { windows: ['attempt'], because: 'it is how long one attempt may take' },
};

/** A budget as it is stored. @throws PortcullisError invalid_argument, by the name of the field */
export function checkNewBudget(request: NewBudget): CheckedBudget {
  const { unit, window } = request;
  const rule = windowsOfUnit[unit];
  if (rule && !rule.windows.includes(window)) {
    throw invalid('window', `window must be ${rule.windows.join(' or ')} for the unit ${unit}: ${rule.because}.`);
  }
  return {
    ...request,
    name: checkBudgetName(request.name),
    limit: checkLimit(request.limit, request),
    timeZone: checkTimeZone(request.timeZone),
    selector: checkSelector(request.selector),
    notifyPercents: checkNotifyPercents(request.notifyPercents ?? defaultOf(request), request),
  };
}

/**
 * Refuses a selector that no call can match, since what it names does not belong together.
 * @throws PortcullisError invalid_argument
 */
export function checkConsistent(selector: BudgetSelector, facts: SelectorFacts): void {
  const { personId, agentId, keyId, runId, workflow } = selector;
  const apart = (one: string | null, other: string | null) => one !== null && other !== null && one !== other;
  // What stands on the right of `??` is a key of nobody in particular, or an agent that nobody answers for.
  const wrong = [
    apart(agentId, keyId === null ? null : (facts.keyAgent ?? '')) && `the key ${keyId} is not of the agent ${agentId}`,
    apart(agentId, facts.runAgent) && `the run ${runId} is not of the agent ${agentId}`,
    apart(facts.keyAgent, facts.runAgent) && `the run ${runId} is not of the agent of the key ${keyId}`,
    apart(facts.keyRun, runId) && `the key ${keyId} is bound to another run than ${runId}`,
    apart(workflow, facts.runWorkflow) && `the run ${runId} is of another workflow`,
    apart(personId, agentId === null ? null : (facts.agentPerson ?? '')) &&
      `the person ${personId} does not answer for the agent ${agentId}`,
    apart(personId, keyId === null ? null : (facts.keyPerson ?? '')) &&
      `the key ${keyId} is not of the person ${personId}`,
  ].find((reason) => reason !== false);
  if (wrong !== undefined) throw invalid('selector', `selector can match no call: ${wrong}.`);
}

/** @throws PortcullisError invalid_argument */
export function checkBudgetName(text: string): string {
  const name = checkName(text);
  // The command line takes a name or an id for the same argument.
  if (!name.startsWith('bud_')) return name;
  throw invalid('name', 'name must not begin with bud_: so do the ids of budgets.');
}

/** @throws PortcullisError invalid_argument */
export function checkLimit(limit: bigint | null, { unit }: Pick<Budget, 'unit'>): bigint | null {
  if (limit === null) return null;
  if (limit < 0n || limit > maxAmount) {
    throw invalid(
      'limit',
      'limit must be 0 (which denies) or more, and less than the system can count; leave it out for no limit.',
    );
  }
  if (unit === 'latency_ms' && limit > 0n && limit < attemptMsMin) {
    throw invalid(
      'limit',
      `limit must be 0 (which denies) or at least ${attemptMsMin} ms: no provider answers sooner, so that each call would be paid for and ended.`,
    );
  }
  return limit;
}

/** @throws PortcullisError invalid_argument */
export function checkNotifyPercents(
  percents: readonly number[],
  budget: Pick<Budget, 'unit' | 'window'>,
): readonly number[] {
  const rising = percents.every((percent, at) => percent > (percents[at - 1] ?? 0) && percent <= notifyPercentMax);
  if (!rising || percents.length > notifyPercentsMax || !percents.every(Number.isInteger)) {
    throw invalid(
      'notify_percents',
      `notify_percents must be rising whole numbers from 1 to ${notifyPercentMax}, ${notifyPercentsMax} at most.`,
    );
  }
  if (percents.length > 0 && !isSpent(budget)) {
    throw invalid(
      'notify_percents',
      'notify_percents must be empty here: nothing is ever spent of calls in flight, of an answer time or of a window of one attempt.',
    );
  }
  return percents;
}

function defaultOf(budget: Pick<Budget, 'unit' | 'window'>): readonly number[] {
  return isSpent(budget) ? notifyPercentsDefault : [];
}

/** Whether what is used adds up to anything. */
function isSpent({ unit, window }: Pick<Budget, 'unit' | 'window'>): boolean {
  return window !== 'attempt' && unit !== 'concurrent_requests';
}

function checkTimeZone(name: string): string {
  const timeZone = canonicalTimeZone(name);
  if (timeZone !== null) return timeZone;
  throw invalid(
    'time_zone',
    `time_zone must be a name of the IANA database, like Europe/Berlin; "${name.slice(0, 100)}" is none.`,
  );
}

function checkSelector(selector: BudgetSelector): BudgetSelector {
  const line = (param: string, text: string | null, charsMax: number) =>
    text === null ? null : checkLine(param, text, 1, charsMax);
  return {
    ...selector,
    workflow: line('workflow', selector.workflow, nameCharsMax),
    provider: line('provider', selector.provider, nameCharsMax),
    model: line('model', selector.model, modelNameCharsMax),
  };
}
