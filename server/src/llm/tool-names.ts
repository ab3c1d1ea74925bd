import type { ScannedBody } from './json-scan.ts';
import { isJsonObject } from './object-reader.ts';

/** Content and settings that bring tools of which the top-level list does not tell. */
const typesWithTools: readonly string[] = [
  'tool_addition',
  'tool_definition',
  'additional_tools',
  'mcp',
  'mcp_toolset',
];

/** Settings by which the provider, or a server that it calls, brings tools of its own. */
const settingsWithTools: readonly string[] = ['web_search_options', 'search_parameters', 'plugins', 'preset'];

/** The same where they hold anything; of a container only skills get here. */
const listsWithTools: readonly string[] = ['mcp_servers', 'container'];

export interface ToolNames {
  /**
   * Of the tools in the request's own list, in its order, the first so many. Every name that a tool has, since providers differ in
   * which they obey, and its type where that tells more than that it is a tool.
   */
  readonly names: readonly string[];
  /** Whether the request may bring tools in other ways: in content, by a setting or by a server that it names. */
  readonly elsewhere: boolean;
}

/** The tools that a request offers to its model, in any dialect. Only the list of tools is parsed, where there is one. */
export function toolNames(body: Buffer, { members, sightings }: ScannedBody, namesMax: number): ToolNames {
  const names: string[] = [];
  let isOpaque = false;
  for (const field of ['tools', 'functions']) {
    const member = members.get(field);
    if (member?.kind !== 'array' || member.count === 0) continue;
    const tools = JSON.parse(body.toString('utf8', member.start, member.end)) as readonly unknown[];
    // What is no object may name a tool that the provider knows.
    isOpaque ||= !tools.every(isJsonObject);
    addNames(tools, names, namesMax);
  }
  const types = sightings.get('type');
  const isHidden = types !== undefined && (!types.complete || typesWithTools.some((type) => types.values.has(type)));
  const isSet =
    settingsWithTools.some((name) => (members.get(name)?.kind ?? 'null') !== 'null') ||
    listsWithTools.some((name) => (members.get(name)?.count ?? 0) > 0);
  return { names: names.slice(0, namesMax), elsewhere: isOpaque || isHidden || isSet };
}

function addNames(tools: unknown, names: string[], namesMax: number): void {
  if (!Array.isArray(tools)) return;
  for (const tool of tools) {
    if (names.length >= namesMax) return;
    if (!isJsonObject(tool)) continue;
    const { type, name } = tool;
    const tells = type === 'function' || type === 'custom' ? null : type;
    const all = [name, nameIn(tool['function']), nameIn(tool['custom']), tells];
    names.push(...new Set(all.filter((one) => typeof one === 'string')));
    // A group of tools (Responses' namespaces).
    addNames(tool['tools'], names, namesMax);
  }
}

function nameIn(value: unknown): unknown {
  return isJsonObject(value) ? value['name'] : undefined;
}
