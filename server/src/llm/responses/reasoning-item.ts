import type { ReasoningBlock, Seal } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { sealFromText } from '../seal.ts';

/** Between the parts of a summary, which are paragraphs with a headline each. */
export const partBreak = '\n\n';

/** Reads a reasoning item of an answer: what is shown of it, and the encrypted content by which its provider knows it again. */
export function parseReasoning(item: ObjectReader, losses: Losses): ReasoningBlock {
  const texts = [...partTexts(item, 'content', losses), ...partTexts(item, 'summary', losses)];
  return { type: 'reasoning', text: texts.join(partBreak), seal: readSeal(item) };
}

/** Reads a reasoning item that a caller sends: its encrypted content may be the seal of a provider of another dialect. */
export function parseCarriedReasoning(item: ObjectReader, losses: Losses): ReasoningBlock {
  const block = parseReasoning(item, losses);
  return { ...block, seal: sealFromText(item.optionalString('encrypted_content') ?? '') ?? block.seal };
}

/**
 * The seal of an item of an answer, whatever its encrypted content looks like: the provider made it. Null without any: by
 * its name alone an item is known only to a provider that stored it.
 */
export function readSeal(item: ObjectReader): Seal | null {
  const id = item.optionalString('id');
  const encrypted = item.optionalString('encrypted_content') ?? '';
  if (encrypted === '') return null;
  return { dialect: 'responses', members: { ...(id !== null && { id }), encrypted_content: encrypted } };
}

function partTexts(item: ObjectReader, name: 'content' | 'summary', losses: Losses): string[] {
  return item.list(name).flatMap((json, i) => {
    const text = new ObjectReader(json, item.path(`${name}[${i}]`), losses).optionalString('text') ?? '';
    return text === '' ? [] : [text];
  });
}

/** A reasoning item for the provider that sealed it. */
export function writeReasoning({ text, seal }: ReasoningBlock): unknown {
  const { id, encrypted_content: encrypted } = seal?.members ?? {};
  return {
    type: 'reasoning',
    ...(typeof id === 'string' && { id }),
    summary: summaryOf(text),
    ...(typeof encrypted === 'string' && { encrypted_content: encrypted }),
  };
}

export function summaryOf(text: string): readonly { type: 'summary_text'; text: string }[] {
  return text === '' ? [] : [{ type: 'summary_text', text }];
}
