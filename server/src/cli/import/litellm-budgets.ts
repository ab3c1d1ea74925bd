import type { Bag } from './litellm-file.ts';
import type { Outcome } from './outcome.ts';

/** LiteLLM's lengths of time that a calendar window stands for. */
const windows: ReadonlyMap<unknown, string> = new Map([
  ['60m', 'hour'],
  ['1h', 'hour'],
  ['24h', 'day'],
  ['1d', 'day'],
  ['30d', 'month'],
  ['31d', 'month'],
  ['1mo', 'month'],
]);

/** Budgets are made by command, since they are control state and no configuration: says which commands. */
export function importBudgets(outcome: Outcome, settings: Bag, router: Bag): void {
  if (settings['max_budget'] !== undefined)
    command(outcome, 'litellm_settings.max_budget', 'litellm', settings['max_budget'], settings['budget_duration']);
  const byProvider = router['provider_budget_config'];
  if (typeof byProvider !== 'object' || byProvider === null) return;
  for (const [provider, config] of Object.entries(byProvider as Bag)) {
    const {
      budget_limit: limit,
      max_budget: older,
      time_period: period,
      budget_duration: duration,
    } = (config ?? {}) as Bag;
    const at = `router_settings.provider_budget_config.${provider}`;
    command(outcome, at, `litellm-${provider}`, limit ?? older, period ?? duration, provider);
  }
}

function command(outcome: Outcome, at: string, name: string, limit: unknown, period: unknown, provider?: string): void {
  const window = period === undefined || period === null ? 'lifetime' : windows.get(period);
  const isName = provider === undefined || /^[\w.-]+$/.test(provider);
  if (!isAmount(limit) || window === undefined || !isName)
    return outcome.leave(at, 'a budget has an amount in USD and a window of an hour, a day, a month or for ever');
  const selector = provider === undefined ? '' : ` --provider ${provider}`;
  const text = `portcullis budgets create ${name} --limit ${limit} --window ${window}${selector}`;
  outcome.map(at, `a command: ${text}`);
  outcome.remind(text);
}

function isAmount(limit: unknown): limit is number | string {
  return (typeof limit === 'number' || typeof limit === 'string') && /^\d{1,9}(?:\.\d{1,9})?$/.test(String(limit));
}
