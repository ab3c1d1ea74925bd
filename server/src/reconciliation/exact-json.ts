import { invalid } from '../identity/input.ts';

/**
 * JSON in which every number is the text that was written, so that no float ever holds an amount.
 * @param at what the text is called in the refusal
 * @throws PortcullisError invalid_argument
 */
export function parseExactJson(at: string, text: string): unknown {
  try {
    return JSON.parse(text, (_name, value: unknown, context?: { readonly source?: string }) =>
      typeof value === 'number' ? context?.source : value,
    );
  } catch (error) {
    // Nested deeper than the stack is.
    const why = error instanceof RangeError ? 'it is nested too deeply' : messageOf(error);
    throw invalid(at, `${at}: this is not a whole JSON document (${why}): fetch it again.`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 100) : 'unreadable';
}
