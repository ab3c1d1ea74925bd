import { type Conversation, type Tool, type ToolChoice, defaultToolChoice } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader, isJsonObject } from '../object-reader.ts';
import { parseMark } from '../openai-content.ts';
import { freeformTool, parseAllowed, parseParameters } from '../openai-tools.ts';

/** Reads the tools of a request and the choice among them. */
export function parseTools(body: ObjectReader, losses: Losses): Pick<Conversation, 'tools' | 'toolChoice'> {
  const tools = body.list('tools').flatMap((item, i) => parseTool(item, `tools[${i}]`, losses));
  const parallel = body.optionalBoolean('parallel_tool_calls') ?? true;
  const json = body.any('tool_choice');
  if (isJsonObject(json) && json['type'] === 'allowed_tools') {
    const choice = new ObjectReader(json, 'tool_choice', losses);
    choice.string('type');
    const allowed = choice.child('allowed_tools');
    if (allowed === null) throw choice.malformed('allowed_tools', 'a JSON object');
    choice.close();
    return parseAllowed(allowed, { tools, parallel, losses }, (tool) => {
      const name = parseNamed(tool);
      if (name === null) losses.drop(tool.path('type'), 'is that of a tool which has no counterpart on the other side');
      return name;
    });
  }
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
    schema: parseParameters(fn),
    strict: fn.optionalBoolean('strict'),
    ...parseMark(fn),
  };
  fn.close();
  return parsed;
}

function parseCustom(tool: ObjectReader, type: string): Tool | null {
  const custom = type === 'custom' ? tool.child('custom') : null;
  if (custom === null) return null;
  const format = custom.child('format');
  const grammar = format?.child('grammar') ?? null;
  const parsed = freeformTool(custom.string('name'), custom.optionalString('description'), grammar);
  if (grammar !== null) custom.hint('format');
  grammar?.close();
  format?.neutral('type', 'text', 'grammar');
  format?.close();
  custom.close();
  return parsed;
}

function parseToolChoice(json: unknown, losses: Losses): ToolChoice {
  if (json === undefined) return defaultToolChoice;
  if (json === 'auto' || json === 'none' || json === 'required') return { mode: json, parallel: true };
  const name = parseNamed(new ObjectReader(json, 'tool_choice', losses));
  if (name !== null) return { mode: 'tool', name, parallel: true };
  losses.drop('tool_choice');
  return defaultToolChoice;
}

/** The name in `{type, function: {name}}` or `{type, custom: {name}}`; null for any other type. */
function parseNamed(choice: ObjectReader): string | null {
  const type = choice.string('type');
  const named = type === 'function' || type === 'custom' ? choice.child(type) : null;
  if (named === null) return null;
  const name = named.string('name');
  named.close();
  choice.close();
  return name;
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
