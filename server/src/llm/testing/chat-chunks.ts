import { expect } from 'vitest';
import { createDecoder } from '../chat/stream.ts';
import { Losses } from '../losses.ts';
import type { StreamEvent } from '../stream-events.ts';
import { blocksOf } from './stream-content.ts';

/** A chunk with this delta, as OpenAI frames it. */
export const delta = (value: object, finish: string | null = null) => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta: value, finish_reason: finish }],
});
export const calls = (...parts: object[]) => delta({ tool_calls: parts });
export const end = (finish: string) => delta({}, finish);
export const begin = (index: number | undefined, id: string | null | undefined, args = '', name = 'f') => ({
  index,
  id,
  type: 'function',
  function: { name, arguments: args },
});
export const more = (index: number | undefined, args: string) => ({ index, function: { arguments: args } });

export function decode(...chunks: (object | string)[]) {
  const losses = new Losses('refuse', 'answer');
  const decoder = createDecoder(losses);
  const events: StreamEvent[] = [];
  for (const chunk of chunks) {
    events.push(
      ...decoder.event({ event: 'message', data: typeof chunk === 'string' ? chunk : JSON.stringify(chunk) }),
    );
  }
  events.push(...decoder.end());
  return { events, last: events.at(-1), blocks: blocksOf(events), dropped: losses.names, decoder };
}

export function failureOf(last: StreamEvent | undefined): string {
  if (last?.type !== 'error') throw new Error(`ended with ${last?.type}`);
  expect(last.error.code).toBe('upstream_error');
  return last.error.message;
}
