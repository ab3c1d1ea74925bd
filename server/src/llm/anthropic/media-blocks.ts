import type { ContentBlock, DocumentBlock, TextBlock } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import type { ObjectReader } from '../object-reader.ts';
import { parseMark, parseTexts } from './text-blocks.ts';

function sourceOf(block: ObjectReader): { readonly source: ObjectReader; readonly type: string } {
  const source = block.child('source');
  if (source === null) throw block.malformed('source', 'a JSON object');
  return { source, type: source.string('type') };
}

function vendorOnly(block: ObjectReader, type: string, losses: Losses): [] {
  losses.drop(block.path('source'), `is of type "${type}", which only this dialect's own vendor can read`);
  return [];
}

/** Reads an image block. One that is a file at the vendor is refused, or dropped with leave. */
export function parseImage(block: ObjectReader, losses: Losses): ContentBlock[] {
  const { source, type } = sourceOf(block);
  const mark = parseMark(block);
  if (type === 'base64') {
    const mediaType = source.string('media_type');
    const data = source.string('data');
    source.close();
    block.close();
    return [{ type: 'image', source: { kind: 'base64', mediaType, data }, detail: null, ...mark }];
  }
  if (type !== 'url') return vendorOnly(block, type, losses);
  const url = source.string('url');
  source.close();
  block.close();
  return [{ type: 'image', source: { kind: 'url', url }, detail: null, ...mark }];
}

/** Reads a document block, and its context as text before it. A file at the vendor is refused, or dropped with leave. */
export function parseDocument(block: ObjectReader, losses: Losses): ContentBlock[] {
  const { source, type } = sourceOf(block);
  const title = block.optionalString('title');
  const context = block.optionalString('context') ?? '';
  const mark = parseMark(block);
  block.neutral('citations', { enabled: false });
  const read = parseDocumentSource(source, type, losses);
  if (read === null) return vendorOnly(block, type, losses);
  source.close();
  block.close();
  // The model reads the context with the document, as text that is not cited.
  const before: TextBlock[] = context === '' ? [] : [{ type: 'text', text: context }];
  return [...before, { type: 'document', source: read, title: title === '' ? null : title, ...mark }];
}

function parseDocumentSource(source: ObjectReader, type: string, losses: Losses): DocumentBlock['source'] | null {
  switch (type) {
    case 'base64':
      return { kind: 'base64', mediaType: source.string('media_type'), data: source.string('data') };
    case 'url':
      return { kind: 'url', url: source.string('url') };
    case 'text':
      source.neutral('media_type', 'text/plain');
      return { kind: 'text', text: source.string('data') };
    case 'content': {
      // Its division into blocks is for citations.
      const texts = parseTexts(source.any('content'), source.path('content'), losses);
      if (texts.some(({ cache }) => cache !== undefined)) losses.hint('cache_control');
      return { kind: 'text', text: texts.map(({ text }) => text).join('\n') };
    }
    default:
      return null;
  }
}
