/** The types whose arrays are written here, by their object ids (PostgreSQL, catalog pg_type). */
const elementOids = { text: 25, json: 114, bigint: 20, 'double precision': 701 } as const;

export type ElementType = keyof typeof elementOids;

/** A value as its type wants it; JSON is its text. */
export type Element = string | number | bigint | null;

const headerBytes = 20;

/**
 * A column of values as one parameter, for `unnest($1::text[], …)`, in the binary format of PostgreSQL's `array_recv`
 * (one dimension): nobody escapes, and nobody parses. The driver sends a Buffer as binary.
 */
export function arrayParameter(type: ElementType, elements: readonly Element[]): Buffer {
  let size = headerBytes;
  for (const element of elements) size += 4 + sizeMax(element);
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeInt32BE(1, 0);
  // There may be nulls.
  bytes.writeInt32BE(1, 4);
  bytes.writeInt32BE(elementOids[type], 8);
  bytes.writeInt32BE(elements.length, 12);
  bytes.writeInt32BE(1, 16);
  let at = headerBytes;
  for (const element of elements) {
    const length = element === null ? -1 : write(type, element, bytes, at + 4);
    bytes.writeInt32BE(length, at);
    at += 4 + Math.max(length, 0);
  }
  return bytes.subarray(0, at);
}

function sizeMax(element: Element): number {
  // A UTF-16 unit is three bytes of UTF-8 at most.
  return typeof element === 'string' ? 3 * element.length : 8;
}

/** @returns the bytes written */
function write(type: ElementType, element: Exclude<Element, null>, bytes: Buffer, at: number): number {
  switch (type) {
    case 'bigint':
      return bytes.writeBigInt64BE(BigInt(element), at) - at;
    case 'double precision':
      return bytes.writeDoubleBE(Number(element), at) - at;
    default:
      return bytes.write(String(element), at);
  }
}
