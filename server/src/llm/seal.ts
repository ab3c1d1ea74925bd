import { sealBytesMax } from '../base/limits.ts';
import type { AssistantBlock, Conversation, Seal } from './conversation.ts';
import { dialects } from './dialect.ts';
import { isJsonObject } from './object-reader.ts';

/** Marks a seal that is carried as text. No vendor's own signature has a dot in it. */
const mark = 'portcullis.1.';

/**
 * The seal as text. A caller of another dialect carries it in the place that its own dialect has for such a thing (a
 * signature, encrypted content), and brings it back with the conversation.
 */
export function sealToText({ dialect, provider, members }: Seal): string {
  return mark + Buffer.from(JSON.stringify({ dialect, provider, members })).toString('base64url');
}

/** The seal that `sealToText` wrote; null for any other text, such as a vendor's own signature. */
export function sealFromText(text: string): Seal | null {
  if (!text.startsWith(mark) || text.length > sealBytesMax) return null;
  try {
    const json: unknown = JSON.parse(Buffer.from(text.slice(mark.length), 'base64url').toString());
    if (!isJsonObject(json)) return null;
    const { provider, members } = json;
    const dialect = dialects.find((each) => each === json['dialect']);
    if (dialect === undefined || !isJsonObject(members)) return null;
    return { dialect, ...(typeof provider === 'string' && { provider }), members };
  } catch {
    return null;
  }
}

/** The seal as callers carry it: it says who made it. Null for one that is too long to be read when it comes back. */
export function carriedSeal(seal: Seal, provider: string | undefined): Seal | null {
  const carried = provider === undefined ? seal : { ...seal, provider };
  return sealToText(carried).length > sealBytesMax ? null : carried;
}

/** The conversation without the seals that another provider made: of the same dialect too, it cannot read them. */
export function withoutForeignSeals(conversation: Conversation, provider: string | undefined): Conversation {
  if (provider === undefined) return conversation;
  const unsealed = (block: AssistantBlock) =>
    block.type === 'reasoning' && (block.seal?.provider ?? provider) !== provider ? { ...block, seal: null } : block;
  const turns = conversation.turns.map((turn) =>
    turn.role === 'assistant' ? { ...turn, blocks: turn.blocks.map(unsealed) } : turn,
  );
  return { ...conversation, turns };
}
