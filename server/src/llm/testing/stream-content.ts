import type { AssistantBlock, Seal } from '../conversation.ts';
import type { StreamEvent } from '../stream-events.ts';

/** What a client has after a stream: the blocks, in order, and how the stream ended. */
export interface StreamContent {
  readonly blocks: readonly ContentBlock[];
  readonly ending: 'finished' | 'failed' | 'open';
  readonly stop: string | null;
  readonly usage: unknown;
}

export type ContentBlock =
  | { type: 'text'; text: string; closed: boolean }
  | { type: 'reasoning'; text: string; seal: Seal | null; closed: boolean }
  | { type: 'tool_call'; id: string; name: string; argumentsJson: string; closed: boolean };

export function insist(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`illegal stream: ${what}`);
}

/** The blocks that legal events spell out, in the order in which they began. */
export function blocksOf(events: readonly StreamEvent[]): AssistantBlock[] {
  return events
    .filter((event) => event.type === 'block_start')
    .map(({ index, block }) => {
      const own = events.filter((event) => 'index' in event && event.index === index);
      const text = own
        .map((event) => {
          if (event.type === 'text_delta' || event.type === 'reasoning_delta') return event.text;
          return event.type === 'arguments_delta' ? event.json : '';
        })
        .join('');
      if (block.kind === 'text') return { type: 'text', text };
      if (block.kind === 'tool_call') return { type: 'tool_call', id: block.id, name: block.name, argumentsJson: text };
      return { type: 'reasoning', text, seal: own.find((event) => event.type === 'seal')?.seal ?? null };
    });
}
