import type { CacheMark, Conversation, Turn, UserBlock } from './conversation.ts';
import type { Losses } from './losses.ts';

type Markable = { readonly cache?: CacheMark };
type Visit = <T extends Markable>(block: T) => T;

/**
 * The conversation with at most `max` cache marks: the last ones, which end the longest prefixes. What goes is a hint.
 * Providers look up a prefix by its content, so that an earlier mark that goes loses nothing that is cached.
 */
export function keepLastMarks(conversation: Conversation, max: number, losses: Losses): Conversation {
  let excess = countMarks(conversation) - max;
  if (excess <= 0) return conversation;
  return visitBlocks(conversation, (block) => {
    if (block.cache === undefined || excess <= 0) return block;
    excess--;
    losses.hint('cache_control');
    const { cache: _mark, ...rest } = block;
    return rest as typeof block;
  });
}

export function countMarks(conversation: Conversation): number {
  let marks = 0;
  visitBlocks(conversation, (block) => {
    if (block.cache !== undefined) marks++;
    return block;
  });
  return marks;
}

/** In the order of the prompt: tools, system, messages. */
function visitBlocks(conversation: Conversation, visit: Visit): Conversation {
  const tools = conversation.tools.map(visit);
  const system = conversation.system.map(visit);
  return { ...conversation, tools, system, turns: conversation.turns.map((turn) => visitTurn(turn, visit)) };
}

function visitTurn(turn: Turn, visit: Visit): Turn {
  switch (turn.role) {
    case 'system':
      return { ...turn, blocks: turn.blocks.map(visit) };
    case 'assistant':
      return { ...turn, blocks: turn.blocks.map((block) => (block.type === 'reasoning' ? block : visit(block))) };
    default:
      return { ...turn, blocks: turn.blocks.map((block) => visitUserBlock(block, visit)) };
  }
}

function visitUserBlock(block: UserBlock, visit: Visit): UserBlock {
  return visit(block.type === 'tool_result' ? { ...block, content: block.content.map(visit) } : block);
}
