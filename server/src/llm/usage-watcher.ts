import { callTokensMax } from '../base/limits.ts';
import type { JsonObject } from './conversation.ts';
import { isJsonObject } from './object-reader.ts';
import { type Usage, tokenClasses } from './usage.ts';

/** Reads along in a provider's stream, and parses only the events that can say something about its usage or its end. */
export interface UsageWatcher {
  /** Takes an event as it came: its name, empty where it has none, and its data. */
  event(name: string, data: string): void;
  /** What the provider reported so far; null when nothing. Until `complete` it may lack most of the output. */
  usage(): Usage | null;
  /** The provider ended the answer properly: a stream that ends before was cut. */
  readonly complete: boolean;
  /** The provider ended the answer by an error event. */
  readonly failed: boolean;
  /**
   * Bounds from above the bytes of what the stream showed of the answer (text, arguments, thinking), to estimate by where
   * usage is missing. Reasoning that a provider hides or shortens is paid for and not in it.
   */
  readonly outputBytes: number;
  /** Events that had to be parsed and are not JSON. */
  readonly malformed: number;
}

/** The number that a usage field holds; 0 when it is absent, NaN when it is no count, or more than any model takes. */
export function countOf(json: unknown): number {
  if (json === undefined || json === null) return 0;
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 && json <= callTokensMax ? json : NaN;
}

/** `usage` if all its counts are counts: one that is not makes the others no more credible. */
export function credible(usage: Usage): Usage | null {
  const counts = [...tokenClasses.map((name) => usage[name]), usage.searches ?? 0];
  return counts.every(Number.isSafeInteger) ? usage : null;
}

/** The data of an event; null where it is no JSON object, which must not end a stream that the client may understand. */
export function parseEvent(data: string): JsonObject | null {
  try {
    const json: unknown = JSON.parse(data);
    return isJsonObject(json) ? json : null;
  } catch {
    return null;
  }
}
