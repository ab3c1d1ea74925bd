import type { CacheMark, TextBlock } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';

/** Text alone: a string, or a list of text blocks. Empty text carries nothing and is left out. */
export function parseTexts(json: unknown, path: string, losses: Losses): TextBlock[] {
  return parseList(json, path, losses, (block, type, at) =>
    type === 'text' ? parseText(block) : unsupported(at, type, losses),
  );
}

/** Where a prefix to be cached ends. What else a mark says cannot change the answer. */
export function parseMark(holder: ObjectReader): { readonly cache?: CacheMark } {
  const mark = holder.child('cache_control');
  if (mark === null) return {};
  mark.string('type');
  const ttl = mark.optionalString('ttl') ?? '5m';
  if (ttl !== '5m' && ttl !== '1h') throw mark.malformed('ttl', '"5m" or "1h"');
  mark.closeOpen();
  return { cache: { lifetime: ttl === '1h' ? 'long' : 'usual' } };
}

/** Content as the vendor allows it everywhere: a string, or a list of blocks that `parse` reads by their type. */
export function parseList<B>(
  json: unknown,
  path: string,
  losses: Losses,
  parse: (block: ObjectReader, type: string, at: string) => readonly (B | TextBlock)[],
): (B | TextBlock)[] {
  if (json === undefined || json === null || json === '') return [];
  if (typeof json === 'string') return [{ type: 'text', text: json }];
  if (!Array.isArray(json)) throw losses.malformed(path, 'a string or a list of blocks');
  return json.flatMap((item, i) => {
    const at = `${path}[${i}]`;
    const block = new ObjectReader(item, at, losses);
    return parse(block, block.string('type'), at);
  });
}

/** Names a block that no other dialect has. @throws PortcullisError invalid_argument, unless the route allows losses */
export function unsupported(path: string, type: string, losses: Losses): [] {
  losses.drop(path, `is a block of type "${type}", which has no counterpart on the other side`);
  return [];
}

/** Reads a text block; none for empty text. */
export function parseText(block: ObjectReader): TextBlock[] {
  const text = block.optionalString('text');
  if (text === null) throw block.malformed('text', 'a string');
  const mark = parseMark(block);
  // Of an earlier answer: where its text came from, not what it says.
  block.hint('citations');
  block.close();
  return text === '' ? [] : [{ type: 'text', text, ...mark }];
}
