import type { AssistantBlock } from '../conversation.ts';
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
  | { type: 'tool_call'; id: string; name: string; argumentsJson: string; closed: boolean };

export function insist(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`illegal stream: ${what}`);
}

/** The blocks that legal events spell out, in the order in which they began. */
export function blocksOf(events: readonly StreamEvent[]): AssistantBlock[] {
  return events
    .filter((event) => event.type === 'block_start')
    .map(({ index, block }) => {
      const said = events.map((event) => {
        if (event.type === 'text_delta') return event.index === index ? event.text : '';
        return event.type === 'arguments_delta' && event.index === index ? event.json : '';
      });
      const text = said.join('');
      if (block.kind === 'text') return { type: 'text', text };
      return { type: 'tool_call', id: block.id, name: block.name, argumentsJson: text };
    });
}
