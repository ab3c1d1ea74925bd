import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conversation, Turn } from './conversation.ts';
import { LegalNames, withLegalNames } from './legal-names.ts';
import { aConversation, userTurn } from './testing/conversations.ts';

describe('legal names', () => {
  test('are short and plain, the same for the same name every time, different for different ones, and lead back', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ unit: 'binary', minLength: 1, maxLength: 90 }), { maxLength: 10 }),
        (names) => {
          const [one, other] = [new LegalNames(64), new LegalNames(64)];
          const legal = names.map((name) => one.legal(name));
          expect(names.toReversed().map((name) => other.legal(name))).toEqual(legal.toReversed());
          expect(new Set(legal).size).toBe(names.length);
          for (const each of legal) expect(each).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
          expect(legal.map((each) => one.original(each))).toEqual(names);
        },
      ),
    );
  });

  test('of calls do not change when the conversation goes on, and each result follows its call', () => {
    const exchange = (id: string): Turn[] => [
      userTurn('go'),
      { role: 'assistant', blocks: [{ type: 'tool_call', id, name: 'a.b', argumentsJson: '{}' }] },
      { role: 'user', blocks: [{ type: 'tool_result', callId: id, content: [], isError: false }] },
    ];
    const ids = ({ turns }: Conversation) =>
      turns.flatMap(({ blocks }) =>
        blocks.flatMap((block) => {
          if (block.type === 'tool_call') return [block.id];
          return block.type === 'tool_result' ? [block.callId] : [];
        }),
      );
    fc.assert(
      fc.property(fc.array(fc.constantFrom('call_0', 'functions.f:0', 'x'.repeat(60)), { maxLength: 8 }), (given) => {
        const whole = ids(withLegalNames(aConversation({ turns: given.flatMap(exchange) })).conversation);
        const part = ids(withLegalNames(aConversation({ turns: given.slice(0, -1).flatMap(exchange) })).conversation);
        expect(whole.slice(0, part.length)).toEqual(part);
        expect(new Set(whole).size).toBe(given.length);
        expect(whole.filter((_, i) => i % 2 === 0)).toEqual(whole.filter((_, i) => i % 2 === 1));
        for (const id of whole) expect(id).toMatch(/^[a-zA-Z0-9_-]{1,40}$/);
      }),
    );
  });
});
