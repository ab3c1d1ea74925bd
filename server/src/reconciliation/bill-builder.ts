import { billDaysMax, billedNanousdMax, billedTokensMax, billFiguresMax, modelNameCharsMax } from '../base/limits.ts';
import { invalid } from '../identity/input.ts';
import { type Atto, nanoOf, parseDecimal } from './decimal.ts';
import type { Bill, BilledFigure, ProviderDay } from './model.ts';

interface Sum extends ProviderDay {
  readonly model: string;
  cost: Atto | null;
  input: bigint | null;
  output: bigint | null;
}

/** Which line of a bill: where it stands, and what it is of. */
export interface BillLine extends ProviderDay {
  readonly at: string;
  readonly model: string;
}

/** Gathers the lines of bills into one figure for each provider, day and model. Its memory is bounded, whatever comes. */
export class BillBuilder {
  readonly #sums = new Map<string, Sum>();
  readonly #wholeDays = new Map<string, ProviderDay>();

  /** @throws PortcullisError invalid_argument when `text` is no amount, or there are too many figures */
  addCost(line: BillLine, text: string, unitsPerUsd = 1n): void {
    const amount = parseDecimal(text);
    if (amount === null) throw wrongNumber(line.at, text, 'an amount');
    const sum = this.#sumOf(line);
    sum.cost = (sum.cost ?? 0n) + amount / unitsPerUsd;
  }

  /** @throws PortcullisError invalid_argument as `addCost` */
  addTokens(line: BillLine, input: string, output: string): void {
    const sum = this.#sumOf(line);
    sum.input = (sum.input ?? 0n) + countOf(line.at, input);
    sum.output = (sum.output ?? 0n) + countOf(line.at, output);
  }

  /** Says that the lines of this day are all that were billed on it. */
  addWholeDay({ provider, day }: ProviderDay): void {
    this.#wholeDays.set(JSON.stringify([provider, day]), { provider, day });
    if (this.#wholeDays.size > billDaysMax) throw tooMany(`${billDaysMax} days`);
  }

  /** @throws PortcullisError invalid_argument when a sum is more than any bill can be */
  bill(): Bill {
    return { figures: [...this.#sums.values()].map(figureOf), wholeDays: [...this.#wholeDays.values()] };
  }

  #sumOf({ at, provider, day, model }: BillLine): Sum {
    if (model === '' || model.length > modelNameCharsMax) {
      throw invalid(at, `${at}: a model's name has 1 to ${modelNameCharsMax} characters.`);
    }
    const key = JSON.stringify([provider, day, model]);
    const known = this.#sums.get(key);
    if (known) return known;
    if (this.#sums.size === billFiguresMax) throw tooMany(`${billFiguresMax} figures (models by days)`);
    const sum: Sum = { provider, day, model, cost: null, input: null, output: null };
    this.#sums.set(key, sum);
    return sum;
  }
}

function figureOf({ provider, day, model, cost, input, output }: Sum): BilledFigure {
  const costUsd = cost === null ? null : nanoOf(cost);
  if ((costUsd ?? 0n) > billedNanousdMax || (input ?? 0n) > billedTokensMax || (output ?? 0n) > billedTokensMax) {
    throw invalid(
      'figures',
      `${provider}, ${model} on ${day}: this is more than a day can cost or use; check the units.`,
    );
  }
  return { provider, day, model, costUsd, tokensInput: input, tokensOutput: output };
}

function countOf(at: string, text: string): bigint {
  if (/^\d{1,15}$/.test(text)) return BigInt(text);
  throw wrongNumber(at, text, 'a count of tokens');
}

function wrongNumber(at: string, text: string, what: string) {
  const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  const advice = text.trim().startsWith('-')
    ? 'is negative: leave credits and refunds out, they are no use of a model'
    : `is not ${what}`;
  return invalid(at, `${at}: "${shown}" ${advice}.`);
}

function tooMany(bound: string) {
  return invalid('figures', `This is more than ${bound}: import a shorter time with --since and --until.`);
}
