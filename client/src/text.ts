/** What was thrown, for people. It never throws, whatever that is. */
export function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  } catch {
    return 'What was thrown has no text.';
  }
}

/** The most of the beginning that has so many bytes in UTF-8, well formed. */
export function clippedToBytes(text: string, bytesMax: number): string {
  const bytes = new Uint8Array(bytesMax);
  const { written } = new TextEncoder().encodeInto(text, bytes);
  return new TextDecoder().decode(bytes.subarray(0, written));
}

/** The beginning, of so many UTF-16 units, well formed. */
export function clipped(text: string, lengthMax: number): string {
  return new TextDecoder().decode(new TextEncoder().encode(text.slice(0, lengthMax)));
}

/** The beginning as the gate takes a line: blanks for breaks, controls and what is not to be seen. */
export function clippedLine(text: string, lengthMax: number): string {
  return clipped(text, lengthMax).replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ');
}
