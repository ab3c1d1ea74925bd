import type { Conversation, Tool, ToolChoice } from '../conversation.ts';
import { defaultToolChoice } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { freeformTool, parseAllowed, parseParameters } from '../openai-tools.ts';

/** Tools that the provider runs and that only add to what the model may know: without them it answers all the same. */
const optionalTools = new Set([
  'web_search',
  'web_search_2025_08_26',
  'web_search_preview',
  'web_search_preview_2025_03_11',
]);

/** The name of a tool of a namespace elsewhere, where there are none. */
export function qualifiedName(namespace: string | null, name: string): string {
  return namespace === null ? name : `${namespace}.${name}`;
}

export function parseTools(body: ObjectReader, losses: Losses): Tool[] {
  return body
    .list('tools')
    .flatMap((json, i) => parseTool(new ObjectReader(json, `tools[${i}]`, losses), null, losses));
}

function parseTool(tool: ObjectReader, namespace: string | null, losses: Losses): Tool[] {
  const type = tool.string('type');
  switch (type) {
    case 'function':
      return [parseFunction(tool, namespace)];
    case 'custom':
      return [parseCustom(tool, namespace, losses)];
    case 'namespace':
      if (namespace === null) return parseNamespace(tool, losses);
      throw tool.malformed('type', '"function" or "custom" in a namespace');
    default:
      if (optionalTools.has(type)) {
        losses.hint(`tools.${type}`);
        tool.hint('filters');
      } else losses.drop(tool.path('type'), `is "${type}", a tool which has no counterpart on the other side`);
      return [];
  }
}

/** A group of tools. What is said about the group stays behind; each tool says what it does. */
function parseNamespace(group: ObjectReader, losses: Losses): Tool[] {
  const namespace = group.string('name');
  group.hint('description');
  const tools = group
    .list('tools')
    .flatMap((json, i) => parseTool(new ObjectReader(json, group.path(`tools[${i}]`), losses), namespace, losses));
  group.close();
  return tools;
}

function parseFunction(tool: ObjectReader, namespace: string | null): Tool {
  const parsed: Tool = {
    name: qualifiedName(namespace, tool.string('name')),
    description: tool.optionalString('description'),
    schema: parseParameters(tool),
    strict: tool.optionalBoolean('strict'),
    ...(namespace !== null && { namespace }),
  };
  tool.hint('output_schema');
  closeTool(tool);
  return parsed;
}

function parseCustom(tool: ObjectReader, namespace: string | null, losses: Losses): Tool {
  const format = tool.child('format');
  const grammar = format?.string('type') === 'grammar' ? format : null;
  const name = qualifiedName(namespace, tool.string('name'));
  const parsed = freeformTool(name, tool.optionalString('description'), grammar);
  if (grammar !== null) losses.hint('tools.format');
  format?.close();
  closeTool(tool);
  return { ...parsed, ...(namespace !== null && { namespace }) };
}

function closeTool(tool: ObjectReader): void {
  tool.neutral('allowed_callers', ['direct']);
  tool.neutral('async', false);
  // A tool that is loaded only when it is searched for is simply there.
  tool.hint('defer_loading');
  tool.close();
}

/** The tool choice, and the tools that it leaves: a list of allowed tools is a shorter list of tools elsewhere. */
export function parseToolChoice(
  body: ObjectReader,
  tools: readonly Tool[],
  losses: Losses,
): Pick<Conversation, 'tools' | 'toolChoice'> {
  const parallel = body.optionalBoolean('parallel_tool_calls') ?? true;
  const json = body.any('tool_choice');
  if (json === undefined) return { tools, toolChoice: { ...defaultToolChoice, parallel } };
  if (json === 'auto' || json === 'none' || json === 'required') return { tools, toolChoice: { mode: json, parallel } };
  const choice = new ObjectReader(json, 'tool_choice', losses);
  const type = choice.string('type');
  switch (type) {
    case 'function':
    case 'custom':
      return { tools, toolChoice: { mode: 'tool', name: parseName(choice), parallel } };
    case 'allowed_tools':
      return parseAllowed(choice, { tools, parallel, losses }, (tool) => parseAllowedName(tool, losses));
    default:
      losses.drop('tool_choice', `is of type "${type}", which has no counterpart on the other side`);
      return { tools, toolChoice: { ...defaultToolChoice, parallel } };
  }
}

function parseName(choice: ObjectReader): string {
  const name = qualifiedName(choice.optionalString('namespace'), choice.string('name'));
  choice.close();
  return name;
}

/** Null for a tool that the provider runs, which `parseTool` left out. */
function parseAllowedName(tool: ObjectReader, losses: Losses): string | null {
  const type = tool.string('type');
  if (type === 'function' || type === 'custom') return parseName(tool);
  if (optionalTools.has(type)) losses.hint(`tool_choice.tools.${type}`);
  else losses.drop(tool.path('type'), `is "${type}", a tool which has no counterpart on the other side`);
  return null;
}

/** Tools as the request and the answer list them, those of a namespace together. */
export function writeTools(tools: readonly Tool[]): object[] {
  const written: object[] = [];
  let group: object[] = written;
  let groupName: string | undefined;
  for (const tool of tools) {
    if (tool.namespace !== groupName) {
      groupName = tool.namespace;
      group = groupName === undefined ? written : [];
      if (group !== written) written.push({ type: 'namespace', name: groupName, description: '', tools: group });
    }
    group.push(writeTool(tool));
  }
  return written;
}

/** Not to say `strict` lets the provider make a schema strict, and optional arguments required: no other dialect does so. */
function writeTool(tool: Tool): object {
  const { name } = splitName(tool);
  const described = { name, ...(tool.description !== null && { description: tool.description }) };
  if (tool.freeform) return { type: 'custom', ...described };
  return { type: 'function', ...described, parameters: tool.schema, strict: tool.strict ?? false };
}

/** A tool's own name and its namespace, as calls of it are written. */
export function splitName({ name, namespace }: Pick<Tool, 'name' | 'namespace'>): { name: string; namespace?: string } {
  return namespace === undefined ? { name } : { name: name.slice(namespace.length + 1), namespace };
}

export function writeToolChoice(toolChoice: ToolChoice, tools: readonly Tool[]): unknown {
  if (toolChoice.mode !== 'tool') return toolChoice.mode;
  const tool = tools.find(({ name }) => name === toolChoice.name);
  return { type: tool?.freeform ? 'custom' : 'function', ...splitName(tool ?? { name: toolChoice.name }) };
}
