import type { Base64Source, DocumentBlock, UrlSource } from './conversation.ts';

const plainText = 'text/plain';

/** What a URL names: what it holds itself where it is a `data:` URL in base64 (RFC 2397), or a web address; else null. */
export function sourceOf(url: string): Base64Source | UrlSource | null {
  if (/^https?:/i.test(url)) return { kind: 'url', url };
  const comma = url.indexOf(',');
  const [scheme, mediaType = ''] = /^data:([^;]*)(?:;.*)?;base64$/is.exec(url.slice(0, Math.max(comma, 0))) ?? [];
  return scheme === undefined ? null : { kind: 'base64', mediaType, data: url.slice(comma + 1) };
}

/** The source of a document: plain text is text, where it is UTF-8. */
export function documentSourceOf(url: string): DocumentBlock['source'] | null {
  const source = sourceOf(url);
  if (source?.kind !== 'base64' || source.mediaType !== plainText) return source;
  const bytes = Buffer.from(source.data, 'base64');
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) ? { kind: 'text', text } : source;
}

export function dataUrl({ mediaType, data }: Pick<Base64Source, 'mediaType' | 'data'>): string {
  return `data:${mediaType};base64,${data}`;
}

export function textDataUrl(text: string): string {
  return dataUrl({ mediaType: plainText, data: Buffer.from(text).toString('base64') });
}
