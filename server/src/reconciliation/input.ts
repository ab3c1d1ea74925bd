import {
  billDaysMax,
  billedNanousdMax,
  billedTokensMax,
  billFiguresMax,
  driftToleranceBasisPoints,
  driftToleranceBasisPointsMax,
  driftToleranceNanousd,
  modelNameCharsMax,
  nameCharsMax,
} from '../base/limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import { dayStart } from './calendar-day.ts';
import type { Bill, BilledFigure, ProviderDay, Tolerance } from './model.ts';
import { dayKey } from './rules.ts';

/**
 * A bill as a caller sent it, so that it can be stored.
 * @param today the day (UTC) that is not over yet
 * @throws PortcullisError invalid_argument
 */
export function checkBill({ figures, wholeDays }: Bill, today: string): Bill {
  if (figures.length === 0 && wholeDays.length === 0)
    throw invalid('figures', 'figures is empty: there is nothing to import.');
  if (figures.length > billFiguresMax) {
    throw invalid(
      'figures',
      `figures has ${figures.length} entries, of ${billFiguresMax} at most: import fewer days at a time.`,
    );
  }
  const checked = figures.map((figure, index) => checkFigure(figure, `figures[${index}]`, today));
  const seen = new Set<string>();
  for (const [index, { provider, day, model }] of checked.entries()) {
    const key = JSON.stringify([provider, day, model]);
    if (seen.has(key))
      throw invalid('figures', `figures[${index}] tells ${model} on ${day} a second time: send one figure for it.`);
    seen.add(key);
  }
  const days = wholeDays.map((day, index) => checkProviderDay(day, `whole_days[${index}]`, today));
  if (new Set([...days, ...checked].map(dayKey)).size > billDaysMax) {
    throw invalid('figures', `There are more than ${billDaysMax} days: import fewer at a time.`);
  }
  return { figures: checked, wholeDays: days };
}

function checkFigure(figure: BilledFigure, param: string, today: string): BilledFigure {
  const { costUsd, tokensInput, tokensOutput } = figure;
  const day = checkProviderDay(figure, param, today);
  const model = checkLine(`${param}.model`, figure.model, 1, modelNameCharsMax);
  if (costUsd === null && tokensInput === null) throw invalid(param, `${param} has neither a cost nor tokens.`);
  if ((tokensInput === null) !== (tokensOutput === null)) {
    throw invalid(param, `${param} has tokens of one side alone: send input_tokens and output_tokens, or neither.`);
  }
  checkAmount(`${param}.cost_nanousd`, costUsd, billedNanousdMax);
  checkAmount(`${param}.input_tokens`, tokensInput, billedTokensMax);
  checkAmount(`${param}.output_tokens`, tokensOutput, billedTokensMax);
  return { ...day, model, costUsd, tokensInput, tokensOutput };
}

function checkProviderDay({ provider, day }: ProviderDay, param: string, today: string): ProviderDay {
  checkDay(`${param}.day`, day);
  if (day >= today)
    throw invalid(`${param}.day`, `${param}.day is ${day}, which is not over (UTC): import days that are.`);
  return { provider: checkLine(`${param}.provider`, provider, 1, nameCharsMax), day };
}

function checkAmount(param: string, amount: bigint | null, max: bigint): void {
  if (amount !== null && (amount < 0n || amount > max)) throw invalid(param, `${param} must be from 0 to ${max}.`);
}

/** @throws PortcullisError invalid_argument when the text is no day of this century */
export function checkDay(param: string, day: string): string {
  if (dayStart(day) === null) throw invalid(param, `${param} must be a day like 2026-11-22.`);
  return day;
}

/** What a caller tolerates, or what is tolerated by default. @throws PortcullisError invalid_argument */
export function checkTolerance(asked: Partial<Tolerance>): Tolerance {
  const { basisPoints = driftToleranceBasisPoints, nanoUsd = driftToleranceNanousd } = asked;
  if (basisPoints < 0 || basisPoints > driftToleranceBasisPointsMax) {
    throw invalid('tolerance', `tolerance.basis_points must be from 0 to ${driftToleranceBasisPointsMax}.`);
  }
  checkAmount('tolerance.nanousd', nanoUsd, billedNanousdMax);
  return { basisPoints, nanoUsd };
}
