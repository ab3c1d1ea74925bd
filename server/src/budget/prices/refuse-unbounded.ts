import { PortcullisError } from '../../base/errors.ts';
import { choicesMax } from '../../base/limits.ts';
import type { ServerTool } from '../../llm/facts.ts';
import { type PlannedCall, unpricedTerm } from './planned-call.ts';

/** The refusal of a call whose answer nothing bounds but an output limit, of which it has none. */
export class UnboundedOutput extends PortcullisError {
  /** The name of the one that needs a bound. */
  readonly budget: string;

  constructor(budget: string, message: string, param: string) {
    super('invalid_argument', message, { param, rule });
    this.budget = budget;
  }
}

const rule = 'unbounded';

/**
 * @throws PortcullisError invalid_argument, naming the field of the call whose use nothing bounds; UnboundedOutput where
 * that is the output limit alone
 */
export function refuseUnbounded(budget: PlannedCall['budgets'][number], call: PlannedCall): void {
  const { facts, limits, kind, price, outputLimitName } = call;
  const { unbounded, serverTools, media, maxOutputTokens } = facts;
  const sentence = (param: string, advice: string) =>
    `Budget "${budget.name}" counts this call, and nothing bounds what "${param}" can use: ${advice}.`;
  const refuse = (param: string, advice: string) =>
    new PortcullisError('invalid_argument', sentence(param, advice), { param, rule });
  const [field] = unbounded;
  if (field !== undefined) throw refuse(field, 'leave it out, or have an operator take the call out of that budget');
  if (facts.choices > choicesMax) throw refuse('n', `ask for ${choicesMax} at most`);
  const term = budget.unit === 'usd' ? unpricedTerm(call) : undefined;
  if (term) throw refuse(term.field, `nobody knows here what "${term.value.slice(0, 100)}" costs, so leave it out`);
  const tool = serverTools.find(({ maxUses }) => maxUses === null);
  if (tool && kind !== 'anthropic') throw refuse(tool.type, 'leave that tool out');
  if (tool && isSearch(tool)) throw refuse(`tools.${tool.type}.max_uses`, 'set it');
  const search = budget.unit === 'usd' && price?.searchUsd === null ? serverTools.find(isSearch) : undefined;
  if (search) throw refuse(search.type, 'nobody knows here what a search costs, so leave that tool out');
  const wholePrompt = media.documents > 0 ? 'document' : serverTools[0]?.type;
  if (wholePrompt !== undefined && limits.contextTokens === null)
    throw refuse(wholePrompt, "the model's context is unknown");
  if (maxOutputTokens === null && limits.maxOutputTokens === null) {
    const advice = 'set it, or have an operator declare capabilities.max_output of this model';
    throw new UnboundedOutput(budget.name, sentence(outputLimitName, advice), outputLimitName);
  }
}

export function isSearch({ type }: ServerTool): boolean {
  return type.startsWith('web_search');
}
