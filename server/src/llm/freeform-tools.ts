import type { Conversation, JsonObject } from './conversation.ts';
import { parseArguments } from './tool-arguments.ts';

/** The arguments of a tool with free text as its input, where tools take an object. */
export const freeformSchema: JsonObject = {
  type: 'object',
  properties: { input: { type: 'string' } },
  required: ['input'],
  additionalProperties: false,
};

/** The free text as arguments of `freeformSchema`. */
export function freeformArguments(input: string): string {
  return JSON.stringify({ input });
}

/** The free text of arguments of `freeformSchema`; arguments that are none are handed on as they are. */
export function freeformInput(argumentsJson: string): string {
  const input = parseArguments(argumentsJson)?.['input'];
  return typeof input === 'string' ? input : argumentsJson;
}

/** The tools of a request whose calls the caller expects as free text. */
export function freeformNames({ tools }: Conversation): ReadonlySet<string> {
  return new Set(tools.filter(({ freeform }) => freeform).map(({ name }) => name));
}
