import { expect, test } from 'vitest';
import { countMarks, keepLastMarks } from './cache-marks.ts';
import type { Conversation } from './conversation.ts';
import { Losses } from './losses.ts';
import { aConversation } from './testing/conversations.ts';

const cache = { lifetime: 'usual' } as const;
const text = { type: 'text', text: 'x', cache } as const;
/** One mark in each place that can have one: seven. */
const marked: Conversation = aConversation({
  tools: [{ name: 'f', description: null, schema: {}, strict: null, cache }],
  system: [text],
  turns: [
    { role: 'user', blocks: [text] },
    {
      role: 'assistant',
      blocks: [
        { type: 'reasoning', text: 'r', seal: null },
        { type: 'tool_call', id: 'c', name: 'f', argumentsJson: '{}', cache },
      ],
    },
    { role: 'user', blocks: [{ type: 'tool_result', callId: 'c', content: [text], isError: false, cache }] },
    { role: 'system', blocks: [text] },
  ],
});

test('the last marks stay, in the order of the prompt: tools, system, messages', () => {
  expect(countMarks(marked)).toBe(7);
  for (let max = 0; max <= 7; max++) {
    const losses = new Losses('refuse');
    const kept = keepLastMarks(marked, max, losses);
    expect(countMarks(kept)).toBe(max);
    expect(losses.names).toEqual(max === 7 ? [] : ['cache_control']);
    const { tools, system, turns } = kept;
    const places = JSON.stringify([tools, system, turns]).split('"cache"');
    expect(places.slice(1)).toEqual(
      JSON.stringify([marked.tools, marked.system, marked.turns])
        .split('"cache"')
        .slice(8 - max),
    );
  }
});

test('a conversation with few marks is the same', () => {
  expect(keepLastMarks(marked, 8, new Losses('refuse'))).toBe(marked);
});
