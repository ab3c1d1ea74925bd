import { PortcullisError } from '../base/errors.ts';
import { jsonDepthMax } from '../base/limits.ts';
import type { JsonObject, ToolCallBlock } from './conversation.ts';
import { parseExactJson } from './exact-json.ts';
import { isJsonObject } from './object-reader.ts';

const labelCharsMax = 100;

/** The arguments of a tool call as an object, or null when the model's text is anything else than one JSON object. */
export function parseArguments(argumentsJson: string): JsonObject | null {
  if (depth(argumentsJson) > jsonDepthMax) return null;
  try {
    const value = parseExactJson(argumentsJson);
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Levels of nesting: writing a value again recurses, and the text is a stranger's. Brackets in strings do not count. */
function depth(json: string): number {
  let level = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (inString) {
      if (char === '\\') i++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') deepest = Math.max(deepest, ++level);
    else if (char === '}' || char === ']') level--;
  }
  return deepest;
}

/** Names a tool call in an error, whatever a model or caller named it. */
export function describeCall({ id, name }: Pick<ToolCallBlock, 'id' | 'name'>): string {
  return `tool call "${id.slice(0, labelCharsMax)}" (${name.slice(0, labelCharsMax)})`;
}

/** The error for arguments that a dialect needs as an object and that are none. */
export function argumentsError(call: Pick<ToolCallBlock, 'id' | 'name'>): PortcullisError {
  return new PortcullisError(
    'upstream_error',
    `The provider's answer cannot be translated: the arguments of ${describeCall(call)} are not a JSON object.`,
  );
}
