import type { Conversation, JsonObject, Tool } from './conversation.ts';
import { freeformSchema } from './freeform-tools.ts';
import type { Losses } from './losses.ts';
import { ObjectReader } from './object-reader.ts';

/** What OpenAI's two dialects say of tools in the same words. */

/** Arguments are always an object, so `parameters` may leave the type out, and be left out for a tool without any. */
export function parseParameters(tool: ObjectReader): JsonObject {
  const schema = tool.optionalObject('parameters') ?? { type: 'object', properties: {} };
  if (schema['type'] === undefined) return { type: 'object', ...schema };
  if (schema['type'] !== 'object') throw tool.malformed('parameters', 'a JSON Schema of type "object"');
  return schema;
}

/**
 * A custom tool, whose input is free text, by this name. A grammar for the input cannot be held to elsewhere: the model is
 * told of it. `grammar` is the reader of what the format says of one.
 */
export function freeformTool(
  name: string,
  description: string | null,
  grammar: ObjectReader | null,
): Pick<Tool, 'name' | 'description' | 'schema' | 'strict' | 'freeform'> {
  const rule =
    grammar && `The input must match this ${grammar.string('syntax')} grammar:\n${grammar.string('definition')}`;
  const told = [description, rule].filter(Boolean).join('\n\n');
  return { name, description: told || null, schema: freeformSchema, strict: null, freeform: true };
}

/**
 * Reads which of the tools may be called alone: to the model the others are not there. `nameOf` reads one of the list, and
 * gives null for a tool that was left out of the request already.
 * @throws PortcullisError invalid_argument for a tool that is not there
 */
export function parseAllowed(
  allowed: ObjectReader,
  { tools, parallel, losses }: { readonly tools: readonly Tool[]; readonly parallel: boolean; readonly losses: Losses },
  nameOf: (tool: ObjectReader) => string | null,
): Pick<Conversation, 'tools' | 'toolChoice'> {
  const mode = allowed.string('mode');
  if (mode !== 'auto' && mode !== 'required') throw allowed.malformed('mode', '"auto" or "required"');
  const known = new Set(tools.map(({ name }) => name));
  const names = new Set<string>();
  for (const [i, json] of allowed.list('tools').entries()) {
    const at = `tools[${i}]`;
    const name = nameOf(new ObjectReader(json, allowed.path(at), losses));
    if (name === null) continue;
    if (!known.has(name)) throw allowed.malformed(at, 'one of the request\'s "tools"');
    names.add(name);
  }
  allowed.close();
  if (names.size === 0 && mode === 'auto') return { tools, toolChoice: { mode: 'none', parallel } };
  return { tools: tools.filter(({ name }) => names.has(name)), toolChoice: { mode, parallel } };
}
