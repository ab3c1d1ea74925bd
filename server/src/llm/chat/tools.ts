import { type Conversation, type JsonObject, type Tool, type ToolChoice, defaultToolChoice } from '../conversation.ts';
import { freeformSchema } from '../freeform-tools.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader, isJsonObject } from '../object-reader.ts';
import { parseMark } from './content.ts';

/** Reads the tools of a request and the choice among them. */
export function parseTools(body: ObjectReader, losses: Losses): Pick<Conversation, 'tools' | 'toolChoice'> {
  const tools = body.list('tools').flatMap((item, i) => parseTool(item, `tools[${i}]`, losses));
  const parallel = body.optionalBoolean('parallel_tool_calls') ?? true;
  const json = body.any('tool_choice');
  if (isJsonObject(json) && json['type'] === 'allowed_tools') return parseAllowed(json, tools, parallel, losses);
  return { tools, toolChoice: { ...parseToolChoice(json, losses), parallel } };
}

function parseTool(json: unknown, path: string, losses: Losses): Tool[] {
  const tool = new ObjectReader(json, path, losses);
  const type = tool.string('type');
  const parsed = parseFunction(tool, type) ?? parseCustom(tool, type);
  if (parsed === null) {
    losses.drop(path, `is a tool of type "${type}", which has no counterpart on the other side`);
    return [];
  }
  const mark = parseMark(tool);
  tool.close();
  return [{ ...parsed, ...mark }];
}

function parseFunction(tool: ObjectReader, type: string): Tool | null {
  const fn = type === 'function' ? tool.child('function') : null;
  if (fn === null) return null;
  const parsed: Tool = {
    name: fn.string('name'),
    description: fn.optionalString('description'),
    schema: objectSchema(fn),
    strict: fn.optionalBoolean('strict'),
    ...parseMark(fn),
  };
  fn.close();
  return parsed;
}

/** A grammar for the input cannot be held to elsewhere: the model is told of it. */
function parseCustom(tool: ObjectReader, type: string): Tool | null {
  const custom = type === 'custom' ? tool.child('custom') : null;
  if (custom === null) return null;
  const description = [custom.optionalString('description'), parseGrammar(custom)].filter((text) => text !== null);
  const parsed: Tool = {
    name: custom.string('name'),
    description: description.length === 0 ? null : description.join('\n\n'),
    schema: freeformSchema,
    strict: null,
    freeform: true,
  };
  custom.close();
  return parsed;
}

function parseGrammar(custom: ObjectReader): string | null {
  const format = custom.child('format');
  const grammar = format?.child('grammar') ?? null;
  format?.neutral('type', 'text', 'grammar');
  format?.close();
  if (grammar === null) return null;
  custom.hint('format');
  const [syntax, definition] = [grammar.string('syntax'), grammar.string('definition')];
  grammar.close();
  return `The input must match this ${syntax} grammar:\n${definition}`;
}

/** Arguments are always an object, so `parameters` may leave the type out, and be left out for a tool without any. */
function objectSchema(fn: ObjectReader): JsonObject {
  const schema = fn.optionalObject('parameters') ?? { type: 'object', properties: {} };
  if (schema['type'] === undefined) return { type: 'object', ...schema };
  if (schema['type'] !== 'object') throw fn.malformed('parameters', 'a JSON Schema of type "object"');
  return schema;
}

function parseToolChoice(json: unknown, losses: Losses): ToolChoice {
  if (json === undefined) return defaultToolChoice;
  if (json === 'auto' || json === 'none' || json === 'required') return { mode: json, parallel: true };
  const name = parseNamed(json, 'tool_choice', losses);
  if (name !== null) return { mode: 'tool', name, parallel: true };
  losses.drop('tool_choice');
  return defaultToolChoice;
}

/** The name in `{type, function: {name}}` or `{type, custom: {name}}`; null for any other type. */
function parseNamed(json: unknown, path: string, losses: Losses): string | null {
  const choice = new ObjectReader(json, path, losses);
  const type = choice.string('type');
  const named = type === 'function' || type === 'custom' ? choice.child(type) : null;
  if (named === null) return null;
  const name = named.string('name');
  named.close();
  choice.close();
  return name;
}

/** To a model that may call some of its tools alone, the others are not there. */
function parseAllowed(
  json: JsonObject,
  tools: readonly Tool[],
  parallel: boolean,
  losses: Losses,
): Pick<Conversation, 'tools' | 'toolChoice'> {
  const choice = new ObjectReader(json, 'tool_choice', losses);
  choice.string('type');
  const allowed = choice.child('allowed_tools');
  if (allowed === null) throw choice.malformed('allowed_tools', 'a JSON object');
  const mode = allowed.string('mode');
  if (mode !== 'auto' && mode !== 'required') throw allowed.malformed('mode', '"auto" or "required"');
  const names = allowed.list('tools').map((tool, i) => {
    const at = `tool_choice.allowed_tools.tools[${i}]`;
    const name = parseNamed(tool, at, losses);
    if (tools.some((each) => each.name === name)) return name;
    throw losses.malformed(at, 'one of the request\'s "tools"');
  });
  allowed.close();
  choice.close();
  if (names.length === 0) return { tools, toolChoice: { mode: 'none', parallel } };
  return { tools: tools.filter(({ name }) => names.includes(name)), toolChoice: { mode, parallel } };
}

/** Tools are written as functions always: not every server knows another kind. */
export function writeTools(conversation: Conversation, losses: Losses): object {
  const { tools } = conversation;
  if (tools.some(({ cache }) => cache !== undefined)) losses.hint('cache_control');
  return { ...(tools.length > 0 && { tools: tools.map(writeTool) }), ...writeToolChoice(conversation) };
}

function writeTool({ name, description, schema, strict }: Tool): unknown {
  return {
    type: 'function',
    function: {
      name,
      ...(description !== null && { description }),
      parameters: schema,
      ...(strict !== null && { strict }),
    },
  };
}

function writeToolChoice({ toolChoice, tools }: Conversation): { tool_choice?: unknown; parallel_tool_calls?: false } {
  const serial = !toolChoice.parallel && tools.length > 0 && { parallel_tool_calls: false as const };
  switch (toolChoice.mode) {
    case 'auto':
      return { ...serial };
    case 'none':
      return tools.length === 0 ? {} : { tool_choice: 'none', ...serial };
    case 'required':
      return { tool_choice: 'required', ...serial };
    default:
      return { tool_choice: { type: 'function', function: { name: toolChoice.name } }, ...serial };
  }
}
