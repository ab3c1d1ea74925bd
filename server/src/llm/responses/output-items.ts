import { createHash } from 'node:crypto';
import type { AssistantBlock, Conversation, ReasoningBlock, Tool, ToolCallBlock } from '../conversation.ts';
import { freeformInput } from '../freeform-tools.ts';
import { sealToText } from '../seal.ts';
import { summaryOf } from './reasoning-item.ts';
import { splitName } from './tools.ts';

const digestChars = 24;

/** A finished item is complete, and so is one that the end of an answer cut off: the response says that it is incomplete. */
export type ItemStatus = 'in_progress' | 'completed';

/** Writes the items of one answer: their names derive from its own, so that a stream and its last event agree. */
export class ItemWriter {
  readonly #suffix: string;
  readonly #tools: ReadonlyMap<string, Tool>;

  constructor(answerId: string, { tools }: Conversation) {
    this.#suffix = createHash('sha256').update(answerId).digest('hex').slice(0, digestChars);
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]));
  }

  /** Whether the caller offered the tool as one whose input is free text. */
  isFreeform(name: string): boolean {
    return this.#tools.get(name)?.freeform ?? false;
  }

  id(block: AssistantBlock['type'], name: string, position: number): string {
    const prefix = block === 'text' ? 'msg' : block === 'reasoning' ? 'rs' : this.isFreeform(name) ? 'ctc' : 'fc';
    return `${prefix}_${this.#suffix}_${position}`;
  }

  item(block: AssistantBlock, position: number, status: ItemStatus): object {
    switch (block.type) {
      case 'text': {
        const content = status === 'completed' ? [textPart(block.text)] : [];
        return { id: this.id('text', '', position), type: 'message', status, role: 'assistant', content };
      }
      case 'reasoning':
        return this.#reasoning(block, position);
      default:
        return this.#call(block, position, status);
    }
  }

  /** The seal travels as encrypted content, whichever provider made it. */
  #reasoning({ text, seal }: ReasoningBlock, position: number): object {
    return {
      id: this.id('reasoning', '', position),
      type: 'reasoning',
      summary: summaryOf(text),
      ...(seal !== null && { encrypted_content: sealToText(seal) }),
    };
  }

  #call({ id: callId, name, argumentsJson }: ToolCallBlock, position: number, status: ItemStatus): object {
    const tool = this.#tools.get(name) ?? { name };
    const call = { id: this.id('tool_call', name, position), status, call_id: callId, ...splitName(tool) };
    return this.isFreeform(name)
      ? { ...call, type: 'custom_tool_call', input: status === 'completed' ? freeformInput(argumentsJson) : '' }
      : { ...call, type: 'function_call', arguments: argumentsJson };
  }
}

export function textPart(text: string): object {
  return { type: 'output_text', text, annotations: [], logprobs: [] };
}
