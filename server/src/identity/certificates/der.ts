/** One element of DER (X.690, section 8.1): what it is, and what is in it. */
export interface Element {
  readonly tag: number;
  readonly body: Buffer;
}

/** DER that is none. */
export class DerError extends Error {}

/**
 * The elements of which `bytes` consists, one after another and nothing else. For short tags and definite lengths,
 * which is all that certificates have.
 * @throws DerError
 */
export function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = byteAt(bytes, at);
    if ((tag & 0x1f) === 0x1f) throw new DerError('a long tag');
    const { length, size } = lengthAt(bytes, at + 1);
    const start = at + 1 + size;
    at = start + length;
    if (at > bytes.length) throw new DerError('an element that is longer than what it is in');
    found.push({ tag, body: bytes.subarray(start, at) });
  }
  return found;
}

function lengthAt(bytes: Buffer, at: number): { readonly length: number; readonly size: number } {
  const first = byteAt(bytes, at);
  if (first < 0x80) return { length: first, size: 1 };
  const count = first & 0x7f;
  if (count < 1 || count > 4) throw new DerError('a length that is indefinite or absurd');
  let length = 0;
  for (let i = 1; i <= count; i++) length = length * 256 + byteAt(bytes, at + i);
  return { length, size: 1 + count };
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new DerError('an element that ends in its head');
  return byte;
}
