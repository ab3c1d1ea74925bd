import type { JsonObject, ReasoningBlock, ReasoningEffort, ReasoningRequest, Seal } from '../conversation.ts';
import type { ObjectReader } from '../object-reader.ts';
import { sealFromText, sealToText } from '../seal.ts';

const efforts = ['low', 'medium', 'high', 'xhigh', 'max'] as const satisfies readonly ReasoningEffort[];

/** The seal of a `thinking` block. Null for the empty signature, which proves nothing. */
export function signatureSeal(signature: string): Seal | null {
  return signature === '' ? null : { dialect: 'anthropic', members: { signature } };
}

/** The seal of a `redacted_thinking` block: the thinking itself, encrypted. */
export function redactedSeal(data: string): Seal {
  return { dialect: 'anthropic', members: { redacted: data } };
}

/**
 * What stands for the seal in a `thinking` block that the caller gets: the vendor's own signature as it is, unless it
 * would be taken for a seal of ours when it comes back (the provider may be a gate too).
 */
export function signatureOf(seal: Seal | null): string {
  if (seal === null) return '';
  const { signature } = seal.members;
  const native = seal.dialect === 'anthropic' && typeof signature === 'string' && sealFromText(signature) === null;
  return native ? signature : sealToText(seal);
}

/** The block as its own provider knows it; null where the seal is not this provider's, or not what it was. */
export function writeThinkingBlock({ text, seal }: ReasoningBlock): JsonObject | null {
  if (seal?.dialect !== 'anthropic') return null;
  const { signature, redacted } = seal.members;
  if (typeof signature === 'string') return { type: 'thinking', thinking: text, signature };
  return typeof redacted === 'string' ? { type: 'redacted_thinking', data: redacted } : null;
}

/** Reads `thinking`, with the `output_config.effort` that belongs to it. */
export function parseReasoning(body: ObjectReader, output: ObjectReader | null): ReasoningRequest | null {
  const effort = parseEffort(output);
  const config = body.child('thinking');
  if (config === null) return effort === null ? null : { effort, budgetTokens: null, show: null };
  const type = config.string('type');
  const budgetTokens = type === 'enabled' ? config.optionalPositiveInteger('budget_tokens') : null;
  if (type === 'enabled' && budgetTokens === null) throw config.malformed('budget_tokens', 'given');
  const show = parseDisplay(config);
  config.hint('block_binding');
  config.close();
  switch (type) {
    case 'adaptive':
    case 'enabled':
      return { effort, budgetTokens, show };
    case 'between_tools':
      // Elsewhere a model thinks where it likes.
      config.hint('type');
      return { effort, budgetTokens, show };
    case 'disabled':
      output?.hint('effort');
      return { effort: 'none', budgetTokens: null, show: null };
    default:
      throw config.malformed('type', '"adaptive", "enabled", "between_tools" or "disabled"');
  }
}

function parseEffort(output: ObjectReader | null): ReasoningEffort | null {
  const given = output?.optionalString('effort') ?? null;
  if (output === null || given === null) return null;
  const effort = efforts.find((each) => each === given);
  if (effort === undefined) throw output.malformed('effort', `one of ${efforts.join(', ')}`);
  return effort;
}

function parseDisplay(config: ObjectReader): boolean | null {
  const display = config.optionalString('display');
  if (display === 'summarized') return true;
  if (display === 'omitted') return false;
  config.hint('display');
  return null;
}

/** Writes the wish to think. Between a budget and an effort the capability of the target has decided already. */
export function writeThinking(reasoning: ReasoningRequest | null): {
  readonly thinking?: JsonObject;
  readonly effort?: string;
} {
  if (reasoning === null) return {};
  const { effort, budgetTokens, show } = reasoning;
  if (effort === 'none') return { thinking: { type: 'disabled' } };
  const display = show !== null && { display: show ? 'summarized' : 'omitted' };
  return {
    thinking:
      budgetTokens === null
        ? { type: 'adaptive', ...display }
        : { type: 'enabled', budget_tokens: budgetTokens, ...display },
    // The least that this dialect knows is low.
    ...(effort !== null && { effort: effort === 'minimal' ? 'low' : effort }),
  };
}
