import { PortcullisError } from '../base/errors.ts';
import { isUnavailable } from '../pg/errors.ts';

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why the program ends. What an operator can mend says so in one sentence; the rest is a fault, and its stack helps. */
export function lastWords(error: unknown): string {
  if (error instanceof PortcullisError) return error.message;
  if (isUnavailable(error)) return `The database cannot be used: ${messageOf(error) || 'nothing answers there'}.`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
