/** What a JSON document holds; undefined for what is none. A body of others: nothing of it is believed before it was verified. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** The value at a JSON pointer (RFC 6901); undefined where there is none. */
export function valueAt(document: unknown, pointer: string): unknown {
  let value = document;
  for (const escaped of pointer.split('/').slice(1)) {
    const name = escaped.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** The text at a JSON pointer, or the number there; null for anything else, and for nothing. */
export function textAt(document: unknown, pointer: string): string | null {
  const value = valueAt(document, pointer);
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Whether a document is nested no deeper than so many levels. */
export function isFlat(document: unknown, depthMax: number): boolean {
  if (typeof document !== 'object' || document === null) return true;
  return depthMax > 0 && Object.values(document).every((value) => isFlat(value, depthMax - 1));
}
