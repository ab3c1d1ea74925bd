import { createHash } from 'node:crypto';
import type { Conversation, Turn } from './conversation.ts';

const digestChars = 12;

/** The strictest bounds among providers: tool names at OpenAI and older Claude, ids of calls at OpenAI. */
const toolNameCharsMax = 64;
const callIdCharsMax = 40;

/**
 * Names that both sides accept: letters, digits, `_` and `-`, of bounded length. A legal name stays; any other becomes
 * its own cleaned start and a digest of the whole, so that the same name always maps the same way (the provider's
 * prompt cache depends on it), and maps back.
 */
export class LegalNames {
  readonly #charsMax: number;
  readonly #originals = new Map<string, string>();

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  legal(name: string): string {
    if (name.length <= this.#charsMax && /^[a-zA-Z0-9_-]+$/.test(name)) return name;
    const digest = createHash('sha256').update(name).digest('hex').slice(0, digestChars);
    const start = name.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, this.#charsMax - digestChars - 1);
    const legal = `${start}_${digest}`;
    this.#originals.set(legal, name);
    return legal;
  }

  /** The name that `legal` was made from, or `legal` itself. */
  original(legal: string): string {
    return this.#originals.get(legal) ?? legal;
  }
}

/**
 * A conversation whose tool names and call ids every provider takes, and the tool names for the way back. Call ids need
 * none: they tie a result to its call, no more. Each becomes unique in the conversation, as Anthropic demands and as
 * servers that count their calls from 0 in every answer do not keep.
 */
export function withLegalNames(conversation: Conversation): { conversation: Conversation; names: LegalNames } {
  const names = new LegalNames(toolNameCharsMax);
  const { tools, toolChoice, turns } = conversation;
  return {
    names,
    conversation: {
      ...conversation,
      tools: tools.map((tool) => ({ ...tool, name: names.legal(tool.name) })),
      toolChoice: toolChoice.mode === 'tool' ? { ...toolChoice, name: names.legal(toolChoice.name) } : toolChoice,
      turns: legalTurns(turns, names),
    },
  };
}

function legalTurns(turns: readonly Turn[], names: LegalNames): Turn[] {
  const ids = new LegalNames(callIdCharsMax);
  const used = new Set<string>();
  /** The ids of the newest turn of calls, which the next turn's results name. */
  let current = new Map<string, string>();

  function unique(id: string): string {
    let legal = ids.legal(id);
    // The mark is illegal in itself, so that the digest tells the repetitions apart.
    for (let n = 2; used.has(legal); n++) legal = ids.legal(`${id}#${n}`);
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
