import { PortcullisError } from '../../base/errors.ts';
import type { ServerTool } from '../../llm/facts.ts';
import { type PlannedCall, unpricedTerm } from './planned-call.ts';

/** @throws PortcullisError invalid_argument, naming the field of the call whose use nothing bounds */
export function refuseUnbounded(budget: PlannedCall['budgets'][number], call: PlannedCall): void {
  const { facts, limits, kind, price } = call;
  const { unbounded, serverTools, media, maxOutputTokens } = facts;
  const refuse = (param: string, advice: string) => {
    const detail = `Budget "${budget.name}" counts this call, and nothing bounds what "${param}" can use: ${advice}.`;
    return new PortcullisError('invalid_argument', detail, { param, rule: 'unbounded' });
  };
  const [field] = unbounded;
  if (field !== undefined) throw refuse(field, 'leave it out, or have an operator take the call out of that budget');
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
    throw refuse('max_tokens', 'set it, or have an operator declare max_output_tokens for this model');
  }
}

export function isSearch({ type }: ServerTool): boolean {
  return type.startsWith('web_search');
}
