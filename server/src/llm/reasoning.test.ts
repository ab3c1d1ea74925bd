import { describe, expect, test } from 'vitest';
import { type Capabilities, fullCapabilities } from './capabilities.ts';
import type { Conversation, ReasoningBlock, ReasoningRequest } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import { Losses } from './losses.ts';
import { fitReasoning } from './reasoning.ts';
import { aConversation, userTurn } from './testing/conversations.ts';

function fit(
  reasoning: Partial<ReasoningRequest> | null,
  kind: Capabilities['reasoning'],
  change: Partial<Conversation & { to: Dialect; cap: number }> = {},
) {
  const { to = 'anthropic', cap = null, ...rest } = change;
  const losses = new Losses('refuse');
  const asked = reasoning && { effort: null, budgetTokens: null, show: null, ...reasoning };
  const conversation = aConversation({ maxOutputTokens: null, ...rest, reasoning: asked });
  const told = fitReasoning(conversation, to, { ...fullCapabilities, reasoning: kind, maxOutputTokens: cap }, losses);
  return { told, dropped: losses.names };
}

describe('the wish to think', () => {
  test('that nobody had is not made up', () => {
    for (const kind of ['effort', 'budget', 'none'] as const)
      expect(fit(null, kind)).toEqual({ told: null, dropped: [] });
  });

  test('goes in words to a model that takes words, from a budget too, and keeps whether it is to be shown', () => {
    expect(fit({ effort: 'low', show: true }, 'effort').told).toEqual({
      effort: 'low',
      budgetTokens: null,
      show: true,
    });
    expect(fit({}, 'effort').told).toEqual({ effort: null, budgetTokens: null, show: null });
    expect(
      [1024, 2048, 5000, 16_384, 31_999].map((budgetTokens) => fit({ budgetTokens }, 'effort').told?.effort),
    ).toEqual(['low', 'low', 'medium', 'high', 'high']);
    expect(fit({ effort: 'max', budgetTokens: 2048 }, 'effort').told?.effort).toBe('max');
  });

  test('goes in tokens to a model that takes tokens: at least 1,024 and less than the limit', () => {
    expect(fit({ effort: 'high' }, 'budget').told).toEqual({ effort: null, budgetTokens: 16_384, show: null });
    expect(fit({}, 'budget').told?.budgetTokens).toBe(8_192);
    expect(fit({ budgetTokens: 100 }, 'budget').told?.budgetTokens).toBe(1_024);
    expect(fit({ budgetTokens: 9_000 }, 'budget', { maxOutputTokens: 5_000 }).told?.budgetTokens).toBe(4_999);
    expect(fit({ budgetTokens: 9_000 }, 'budget', { maxOutputTokens: 8_000, cap: 4_000 }).told?.budgetTokens).toBe(
      3_999,
    );
  });

  test('in words leaves half of the limit for the answer, and goes where that is too little to think', () => {
    expect(fit({ effort: 'high' }, 'budget', { maxOutputTokens: 10_000 }).told?.budgetTokens).toBe(5_000);
    expect(fit({ effort: 'high' }, 'budget', { maxOutputTokens: 2_000 })).toEqual({
      told: null,
      dropped: ['reasoning'],
    });
  });

  test('goes where the model cannot be told, and is listed; not to think needs no telling there', () => {
    expect(fit({ effort: 'high' }, 'none')).toEqual({ told: null, dropped: ['reasoning'] });
    expect(fit({ effort: 'none' }, 'none')).toEqual({ told: null, dropped: [] });
    expect(fit({ effort: 'none' }, 'budget').told?.effort).toBe('none');
  });

  test('goes in words where the dialect has no word for a budget, whatever the model is told by', () => {
    for (const to of ['chat', 'responses'] as const) {
      expect(fit({ effort: 'high' }, 'budget', { to })).toEqual(fit({ effort: 'high' }, 'effort', { to }));
      expect(fit({ budgetTokens: 9_000 }, 'budget', { to }).told).toMatchObject({ effort: 'high', budgetTokens: null });
    }
  });

  test.each<[string, Partial<Conversation>]>([
    ['a call is forced', { toolChoice: { mode: 'required', parallel: true } }],
    ['one tool is forced', { toolChoice: { mode: 'tool', name: 'f', parallel: true } }],
    ['a temperature is asked', { temperature: 0 }],
    ['a narrow top_p is asked', { topP: 0.5 }],
  ])('yields at Anthropic where %s, and nowhere else', (_, change) => {
    for (const kind of ['effort', 'budget'] as const) {
      expect(fit({ effort: 'high' }, kind, change)).toEqual({ told: null, dropped: ['reasoning'] });
      expect(fit({ effort: 'none' }, kind, change).told?.effort).toBe('none');
      expect(fit({ effort: 'high' }, kind, { ...change, to: 'chat' }).told).not.toBeNull();
    }
    expect(fit({ effort: 'high' }, 'effort', { temperature: 1, topP: 0.99 }).told).not.toBeNull();
  });

  test('yields at Anthropic, as a budget, where the turn that goes on called a tool without having thought', () => {
    const thought: ReasoningBlock = {
      type: 'reasoning',
      text: '',
      seal: { dialect: 'anthropic', members: { signature: 's' } },
    };
    const turns = (...first: ReasoningBlock[]): Conversation['turns'] => [
      userTurn('go'),
      { role: 'assistant', blocks: [...first, { type: 'tool_call', id: 'c', name: 'f', argumentsJson: '{}' }] },
      { role: 'user', blocks: [{ type: 'tool_result', callId: 'c', content: [], isError: false }] },
    ];
    expect(fit({ budgetTokens: 2_000 }, 'budget', { turns: turns() })).toEqual({ told: null, dropped: ['reasoning'] });
    expect(fit({ budgetTokens: 2_000 }, 'budget', { turns: turns(thought) }).told).not.toBeNull();
    expect(fit({ budgetTokens: 2_000 }, 'effort', { turns: turns() }).told).not.toBeNull();
    expect(fit({ budgetTokens: 2_000 }, 'budget', { turns: turns(), to: 'chat' }).told).not.toBeNull();
    const over: Conversation['turns'] = [...turns(), { role: 'assistant', blocks: [{ type: 'text', text: 'done' }] }];
    expect(fit({ budgetTokens: 2_000 }, 'budget', { turns: [...over, userTurn('next')] }).told).not.toBeNull();
  });
});
