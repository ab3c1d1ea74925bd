import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conversation, Turn } from './conversation.ts';
import { conversation as anyConversation } from './testing/arbitrary.ts';
import { aConversation, userTurn } from './testing/conversations.ts';
import { estimateTokens, totalTokens } from './tokens.ts';
import { trimOldest } from './trim.ts';

const { signal } = new AbortController();

/** Trims to about so many words, which are a token each. */
async function trim(conversation: Conversation, limitTokens: number) {
  return trimOldest(conversation, await estimateTokens(conversation, signal), limitTokens);
}

const words = (n: number): string => 'word '.repeat(n).trim();
const says = (text: string): Turn => ({ role: 'assistant', blocks: [{ type: 'text', text }] });
const calls = (id: string): Turn => ({
  role: 'assistant',
  blocks: [{ type: 'tool_call', id, name: 'look', argumentsJson: '{}' }],
});
const result = (callId: string, text: string, ...said: string[]): Turn => ({
  role: 'user',
  blocks: [
    { type: 'tool_result', callId, content: [{ type: 'text', text }], isError: false },
    ...said.map((each) => ({ type: 'text' as const, text: each })),
  ],
});

describe('what is taken out', () => {
  test('are the oldest exchanges, a request with all that was answered to it', async () => {
    const newest = [userTurn('and now?'), says('this')];
    const older = [userTurn('b'), calls('1'), result('1', words(50)), says('done')];
    const oldest = [userTurn('a'), says(words(50))];
    const asked = aConversation({ turns: [...oldest, ...older, ...newest, userTurn('last')] });
    const whole = totalTokens(await estimateTokens(asked, signal));
    expect((await trim(asked, whole - 1)).conversation.turns).toEqual([...older, ...newest, userTurn('last')]);
    const { conversation, trimmed } = await trim(asked, 50);
    expect(conversation.turns).toEqual([...newest, userTurn('last')]);
    expect(trimmed.turns).toBe(6);
    expect(trimmed.tokens).toBeGreaterThan(100);
  });

  test('go a quarter of their room at a time, so that what is left begins alike in request after request', async () => {
    const system = [{ type: 'text' as const, text: words(100) }];
    const turns: Turn[] = [];
    const cuts: number[] = [];
    for (let n = 0; n < 60; n++) {
      turns.push(userTurn(`${n} ${words(20)}`));
      const { trimmed, promptTokens } = await trim(aConversation({ system, turns }), 500);
      expect(promptTokens).toBeGreaterThan(trimmed.turns === 0 ? 0 : 300);
      cuts.push(trimmed.turns);
      turns.push(says(words(10)));
    }
    const past = cuts.filter((cut) => cut > 0);
    expect(past.length).toBeGreaterThan(40);
    // Some 40 tokens a turn, and steps of 100.
    expect(new Set(past).size).toBeLessThan(past.length / 2);
    expect(past).toEqual(past.toSorted((a, b) => a - b));
  });

  test('are then the oldest rounds of the work on the newest request, but not what the person said meanwhile', async () => {
    const turns = [
      userTurn('repair it'),
      calls('1'),
      result('1', words(50), 'be quick'),
      calls('2'),
      result('2', words(50)),
      calls('3'),
      result('3', 'ok'),
    ];
    const { conversation, trimmed } = await trim(aConversation({ turns }), 60);
    expect(conversation.turns).toEqual([
      {
        role: 'user',
        blocks: [
          { type: 'text', text: 'repair it' },
          { type: 'text', text: 'be quick' },
        ],
      },
      calls('3'),
      result('3', 'ok'),
    ]);
    expect(trimmed.turns).toBe(4);
  });

  test('is never a system prompt, a tool, the newest request or the last round', async () => {
    const asked = aConversation({
      system: [{ type: 'text', text: words(50) }],
      tools: [{ name: 'look', description: words(50), schema: { type: 'object' }, strict: null }],
      turns: [
        userTurn('a'),
        { role: 'system', blocks: [{ type: 'text', text: 'be kind' }] },
        userTurn(words(50)),
        calls('1'),
        result('1', words(50)),
      ],
    });
    const { conversation, promptTokens } = await trim(asked, 10);
    expect(conversation).toEqual({ ...asked, turns: asked.turns.slice(1) });
    expect(promptTokens).toBeGreaterThan(200);
  });

  test('is nothing of a conversation that no person began', async () => {
    const asked = aConversation({ turns: [calls('1'), result('1', words(50)), calls('2'), result('2', 'ok')] });
    expect((await trim(asked, 10)).conversation).toEqual(asked);
  });
});

test('whatever the conversation and the limit: no orphans, a person first, in order, the same each time', async () => {
  await fc.assert(
    fc.asyncProperty(anyConversation, fc.nat(400), async (asked, limit) => {
      const sizes = await estimateTokens(asked, signal);
      const { conversation, trimmed, promptTokens } = trimOldest(asked, sizes, limit);
      const { turns, ...rest } = conversation;
      const { turns: before, ...restBefore } = asked;
      expect(rest).toEqual(restBefore);
      expect(trimOldest(asked, sizes, limit)).toEqual({ conversation, trimmed, promptTokens });
      expect(totalTokens(await estimateTokens(conversation, signal))).toBeLessThanOrEqual(promptTokens);
      expect(trimmed.turns > 0 || turns.length === before.length).toBe(true);
      expect(trimmed.turns > 0 && totalTokens(sizes) <= limit).toBe(false);

      expect(turns.find(({ role }) => role !== 'system')?.role).toBe('user');
      expect(turns.every(({ role }, i) => role !== turns[i + 1]?.role)).toBe(true);
      expect(turns.at(-1)?.blocks.slice(-1)).toEqual(before.at(-1)?.blocks.slice(-1));
      expect(orphans(turns)).toEqual([]);
      const blocks = before.flatMap((turn) => [...turn.blocks]);
      let at = -1;
      for (const block of turns.flatMap((turn) => [...turn.blocks])) {
        const next = blocks.indexOf(block, at + 1);
        expect(next).toBeGreaterThan(at);
        at = next;
      }
      expect(systemTurns(turns)).toEqual(systemTurns(before));
    }),
    { numRuns: 300 },
  );
});

/** Calls without a result in the next turn, and results without a call in the turn before. */
function orphans(turns: readonly Turn[]): string[] {
  return turns.flatMap(({ blocks }, i) => {
    const calledBefore = turns[i - 1]?.blocks.flatMap((block) => (block.type === 'tool_call' ? [block.id] : [])) ?? [];
    const answeredNext =
      turns[i + 1]?.blocks.flatMap((block) => (block.type === 'tool_result' ? [block.callId] : [])) ?? [];
    return blocks.flatMap((block) => {
      if (block.type === 'tool_call' && !answeredNext.includes(block.id)) return [block.id];
      return block.type === 'tool_result' && !calledBefore.includes(block.callId) ? [block.callId] : [];
    });
  });
}

function systemTurns(turns: readonly Turn[]): unknown[] {
  return turns.flatMap(({ role, blocks }) => (role === 'system' ? [...blocks] : []));
}
