import { sealBytesMax } from '../base/limits.ts';
import type { Seal } from './conversation.ts';
import { dialects } from './dialect.ts';
import { isJsonObject } from './object-reader.ts';

/** Marks a seal that is carried as text. No vendor's own signature has a dot in it. */
const mark = 'portcullis.1.';

/**
 * The seal as text. A caller of another dialect carries it in the place that its own dialect has for such a thing (a
 * signature, encrypted content), and brings it back with the conversation.
 */
export function sealToText({ dialect, members }: Seal): string {
  return mark + Buffer.from(JSON.stringify({ dialect, members })).toString('base64url');
}

/** The seal that `sealToText` wrote; null for any other text, such as a vendor's own signature. */
export function sealFromText(text: string): Seal | null {
  if (!text.startsWith(mark) || text.length > sealBytesMax) return null;
  try {
    const json: unknown = JSON.parse(Buffer.from(text.slice(mark.length), 'base64url').toString());
    if (!isJsonObject(json) || !isJsonObject(json['members'])) return null;
    const dialect = dialects.find((each) => each === json['dialect']);
    return dialect === undefined ? null : { dialect, members: json['members'] };
  } catch {
    return null;
  }
}
