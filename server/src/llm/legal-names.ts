import { createHash } from 'node:crypto';
import { PortcullisError } from '../base/errors.ts';
import type { Conversation, Tool, Turn } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import { qualifiedName, splitName } from './responses/tools.ts';

const digestChars = 12;

/** The strictest bounds among providers: tool names at OpenAI and older Claude, ids of calls at OpenAI. */
const toolNameCharsMax = 64;
const callIdCharsMax = 40;

/**
 * A name that both sides accept: letters, digits, `_` and `-`, of bounded length. A legal name stays; any other becomes
 * its own cleaned start and a digest of the whole, so that the same name always maps the same way: the provider's prompt
 * cache depends on it.
 */
export function legalName(name: string, charsMax: number): string {
  if (name.length <= charsMax && /^[a-zA-Z0-9_-]+$/.test(name)) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, digestChars);
  const start = name.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, charsMax - digestChars - 1);
  return `${start}_${digest}`;
}

/** The tools of a request by the names that its provider takes, and the way back. */
export class ToolNames {
  /** As the provider is to know them. */
  readonly tools: readonly Tool[];
  readonly #legal = new Map<string, string>();
  readonly #originals = new Map<string, string>();

  /** @throws PortcullisError invalid_argument where nobody could say which of two tools is called */
  constructor(tools: readonly Tool[], to: Dialect) {
    this.tools = tools.map((tool) => {
      const legal = legalTool(tool, to);
      if (this.#legal.has(tool.name) || this.#originals.has(legal.name)) throw ambiguous(legal.name);
      this.#legal.set(tool.name, legal.name);
      this.#originals.set(legal.name, tool.name);
      return legal;
    });
  }

  /** Also of a tool that was called once and is not there any more. */
  legal(name: string): string {
    const known = this.#legal.get(name);
    if (known !== undefined) return known;
    const legal = legalName(name, toolNameCharsMax);
    this.#legal.set(name, legal);
    if (!this.#originals.has(legal)) this.#originals.set(legal, name);
    return legal;
  }

  /** The name that `legal` was made from, or `legal` itself. */
  original(legal: string): string {
    return this.#originals.get(legal) ?? legal;
  }
}

/** Responses alone has namespaces: a name of each side of the dot there, and one name of both elsewhere. */
function legalTool(tool: Tool, to: Dialect): Tool {
  const { name, namespace } = splitName(tool);
  if (to !== 'responses' || namespace === undefined) return { ...tool, name: legalName(tool.name, toolNameCharsMax) };
  const legal = legalName(namespace, toolNameCharsMax);
  return { ...tool, name: qualifiedName(legal, legalName(name, toolNameCharsMax)), namespace: legal };
}

function ambiguous(name: string): PortcullisError {
  return new PortcullisError(
    'invalid_argument',
    `"tools" has two tools that the model behind this name would know by one name, "${name}": rename one of them.`,
    { param: 'tools' },
  );
}

/**
 * A conversation whose tool names and call ids every provider takes, and the tool names for the way back. Call ids need
 * none: they tie a result to its call, no more. Each becomes unique in the conversation, as Anthropic demands and as
 * servers that count their calls from 0 in every answer do not keep.
 * @throws PortcullisError invalid_argument where two tools would get one name
 */
export function withLegalNames(
  conversation: Conversation,
  to: Dialect,
): { conversation: Conversation; names: ToolNames } {
  const { tools, toolChoice, turns } = conversation;
  const names = new ToolNames(tools, to);
  return {
    names,
    conversation: {
      ...conversation,
      tools: names.tools,
      toolChoice: toolChoice.mode === 'tool' ? { ...toolChoice, name: names.legal(toolChoice.name) } : toolChoice,
      turns: legalTurns(turns, names),
    },
  };
}

function legalTurns(turns: readonly Turn[], names: ToolNames): Turn[] {
  const used = new Set<string>();
  /** The ids of the newest turn of calls, which the next turn's results name. */
  let current = new Map<string, string>();

  function unique(id: string): string {
    let legal = legalName(id, callIdCharsMax);
    // The mark is illegal in itself, so that the digest tells the repetitions apart.
    for (let n = 2; used.has(legal); n++) legal = legalName(`${id}#${n}`, callIdCharsMax);
    used.add(legal);
    current.set(id, legal);
    return legal;
  }

  return turns.map((turn): Turn => {
    switch (turn.role) {
      case 'system':
        return turn;
      case 'assistant':
        current = new Map();
        return {
          role: 'assistant',
          blocks: turn.blocks.map((block) =>
            block.type === 'tool_call' ? { ...block, id: unique(block.id), name: names.legal(block.name) } : block,
          ),
        };
      default:
        return {
          role: 'user',
          blocks: turn.blocks.map((block) =>
            block.type === 'tool_result' ? { ...block, callId: current.get(block.callId) ?? block.callId } : block,
          ),
        };
    }
  });
}
