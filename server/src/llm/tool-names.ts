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

export interface ToolNames {
  /** Of the tools in the request's own list, in its order, the first so many; a tool without a name is called by its type. */
  readonly names: readonly string[];
  /** Whether the request may bring tools in other ways: in content, or by a server that it names. */
  readonly elsewhere: boolean;
}

/** The tools that a request offers to its model, in any dialect. Only the list of tools is parsed, where there is one. */
export function toolNames(body: Buffer, { members, sightings }: ScannedBody, namesMax: number): ToolNames {
  const names: string[] = [];
  for (const field of ['tools', 'functions']) {
    const member = members.get(field);
    if (member?.kind !== 'array' || member.count === 0) continue;
    addNames(JSON.parse(body.toString('utf8', member.start, member.end)), names, namesMax);
  }
  const types = sightings.get('type');
  const isHidden = types !== undefined && (!types.complete || typesWithTools.some((type) => types.values.has(type)));
  return { names, elsewhere: isHidden || (members.get('mcp_servers')?.count ?? 0) > 0 };
}

function addNames(tools: unknown, names: string[], namesMax: number): void {
  if (!Array.isArray(tools)) return;
  for (const tool of tools) {
    if (names.length === namesMax) return;
    if (!isJsonObject(tool)) continue;
    const { type, name } = tool;
    const named = [name, nameIn(tool['function']), nameIn(tool['custom']), type].find(
      (candidate) => typeof candidate === 'string',
    );
    if (typeof named === 'string') names.push(named);
    // A group of tools (Responses' namespaces).
    addNames(tool['tools'], names, namesMax);
  }
}

function nameIn(value: unknown): unknown {
  return isJsonObject(value) ? value['name'] : undefined;
}
