import { PortcullisError } from '../base/errors.ts';
import type { AssistantBlock, ContentBlock, TextBlock, ToolResultBlock, Turn } from './conversation.ts';

/** Of a caller's identifier in an error. */
const idCharsMax = 100;

/** A turn while it grows; it is read-only once handed out. */
type GrowingTurn =
  | { readonly role: 'system'; readonly blocks: TextBlock[] }
  | { readonly role: 'user'; readonly blocks: (ContentBlock | ToolResultBlock)[] }
  | { readonly role: 'assistant'; readonly blocks: AssistantBlock[] };

/**
 * Builds the turns of a conversation in normal form from messages in wire order. Messages of one role in a row become
 * one turn, as Anthropic itself does with them and as chat needs for its one message per tool result.
 */
export class TurnBuilder {
  readonly #turns: GrowingTurn[] = [];
  /** Calls of the newest assistant turn that have no result yet. */
  #unanswered = new Set<string>();
  /** The newest turn has more than tool results. */
  #hasContent = false;

  system(blocks: readonly TextBlock[]): void {
    this.#append(this.#turn('system').blocks, blocks);
  }

  assistant(blocks: readonly AssistantBlock[], path: string): void {
    const turn = this.#turn('assistant');
    for (const block of blocks) {
      if (block.type === 'tool_call') this.#call(block.id, path);
      turn.blocks.push(block);
    }
  }

  user(blocks: readonly ContentBlock[]): void {
    this.#append(this.#turn('user').blocks, blocks);
  }

  /** @throws PortcullisError when the result answers no call, or stands where no provider accepts it. */
  toolResult(block: ToolResultBlock, path: string): void {
    const turn = this.#turn('user');
    if (!this.#unanswered.delete(block.callId)) {
      throw refused(
        path,
        `the tool result for ${quoted(block.callId)} answers no open tool call of the assistant turn before it: ` +
          'send the call with its result, or leave both out.',
      );
    }
    if (this.#hasContent) {
      throw refused(
        path,
        `the tool result for ${quoted(block.callId)} must come before the other content of its turn.`,
      );
    }
    turn.blocks.push(block);
  }

  get turns(): readonly Turn[] {
    return this.#turns;
  }

  /** One by one: so many blocks as a body can hold do not fit in the arguments of one `push`. */
  #append<B extends ContentBlock>(growing: (B | ToolResultBlock)[] | B[], blocks: readonly B[]): void {
    for (const block of blocks) growing.push(block);
    this.#hasContent ||= blocks.length > 0;
  }

  #call(id: string, path: string): void {
    if (this.#unanswered.has(id)) throw refused(path, `two tool calls of one turn have the id ${quoted(id)}.`);
    this.#unanswered.add(id);
  }

  #turn<R extends GrowingTurn['role']>(role: R): Extract<GrowingTurn, { role: R }> {
    const last = this.#turns.at(-1);
    if (last?.role === role) return last as Extract<GrowingTurn, { role: R }>;
    // A result counts only in the turn right after its calls.
    if (role === 'assistant' || last?.role !== 'assistant') this.#unanswered = new Set();
    const turn = { role, blocks: [] } as GrowingTurn as Extract<GrowingTurn, { role: R }>;
    this.#turns.push(turn);
    this.#hasContent = false;
    return turn;
  }
}

function quoted(id: string): string {
  return `"${id.slice(0, idCharsMax)}"`;
}

function refused(path: string, what: string): PortcullisError {
  return new PortcullisError('invalid_argument', `"${path}": ${what}`, { param: path });
}
