import { expect, test } from 'vitest';
import type { TextBlock } from './conversation.ts';
import { TurnBuilder } from './turn-builder.ts';

const text: TextBlock = { type: 'text', text: 'x' };
const call = (id: string) => ({ type: 'tool_call', id, name: 'f', argumentsJson: '{}' }) as const;
const result = (callId: string) => ({ type: 'tool_result', callId, content: [text], isError: false }) as const;

test('a turn takes as many blocks as a body can hold', () => {
  const builder = new TurnBuilder();
  const blocks = Array.from({ length: 300_000 }, () => text);
  builder.user(blocks);
  builder.user(blocks);
  builder.system(blocks);
  expect(builder.turns.map((turn) => turn.blocks.length)).toEqual([600_000, 300_000]);
});

test('text of an earlier turn does not stand before a tool result, text of its own turn does', () => {
  const builder = new TurnBuilder();
  builder.user([text]);
  builder.assistant([text, call('a'), call('b')], 'messages[1]');
  builder.user([]);
  builder.toolResult(result('a'), 'messages[2]');
  builder.user([text]);
  expect(() => builder.toolResult(result('b'), 'messages[3]')).toThrow(/must come before the other content/);
});
