import { sealBytesMax } from '../../base/limits.ts';
import type { AssistantBlock, JsonObject, ReasoningBlock, Seal } from '../conversation.ts';
import { type ObjectReader, isJsonObject } from '../object-reader.ts';
import { sealToText } from '../seal.ts';

/**
 * Google signs the thoughts that led to a tool call, and wants the signature back at that call (Gemini 3 refuses a call
 * without it): in `extra_content.google`, or `.vertex` at its other address. To callers of other dialects it is a block of
 * reasoning without text before the call, whose chat seal has it.
 */
const houses = ['google', 'vertex'] as const;

/** The signature at a tool call of an answer, or of a caller's history, as the block that stands before the call. */
export function readExtras(call: ObjectReader): ReasoningBlock[] {
  const given = call.any('extra_content');
  const extras = signaturesIn(given);
  const seal: Seal = { dialect: 'chat', members: { extra_content: extras } };
  if (extras !== null && sealToText(seal).length <= sealBytesMax) return [{ type: 'reasoning', text: '', seal }];
  call.hint('extra_content');
  return [];
}

/** What belongs to the tool call at `index` by the block before it. A caller may have changed the seal. */
export function extrasAt(blocks: readonly AssistantBlock[], index: number): { readonly extra_content?: JsonObject } {
  const before = blocks[index - 1];
  if (before?.type !== 'reasoning' || before.seal?.dialect !== 'chat') return {};
  const extras = signaturesIn(before.seal.members['extra_content']);
  return extras === null ? {} : { extra_content: extras };
}

function signaturesIn(json: unknown): JsonObject | null {
  if (!isJsonObject(json)) return null;
  const found = houses.flatMap((house) => {
    const { [house]: extras } = json;
    const signature = isJsonObject(extras) ? extras['thought_signature'] : undefined;
    return typeof signature === 'string' && signature !== ''
      ? [[house, { thought_signature: signature }] as const]
      : [];
  });
  return found.length === 0 ? null : Object.fromEntries(found);
}
