/**
 * JSON without loss. A JSON number may hold more than a double does (a 64-bit identifier in tool arguments, say), and
 * JSON.parse would round it silently. Such numbers are kept as their source text by JSON.rawJSON
 * (TC39 "JSON.parse source text access"), so that JSON.stringify writes them back digit by digit.
 */

declare global {
  // What TypeScript's libraries do not declare yet.
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
    rawJSON(text: string): unknown;
  }
}

// No number without one of these can be more than a double: 16 digits in a row, or an exponent of three digits.
const maybeInexact = /\d[\d.]{15}|[eE][+-]?\d{3}/;

/** Parses JSON text. @throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  // A reviver makes parsing several times slower.
  return maybeInexact.test(text) ? JSON.parse(text, keepSource) : JSON.parse(text);
}

function keepSource(_key: string, value: unknown, { source }: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || source === undefined || String(value) === source) return value;
  const exact = Number.isSafeInteger(value) || (Number.isFinite(value) && source.length < 17);
  return exact ? value : JSON.rawJSON(source);
}
