import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conversation, Tool, Turn } from './conversation.ts';
import { dialects } from './dialect.ts';
import { ToolNames, legalName, withLegalNames } from './legal-names.ts';
import { aConversation, userTurn } from './testing/conversations.ts';
import { refusalOf } from './testing/refusal.ts';

const tool = (name: string, namespace?: string): Tool => ({
  name: namespace === undefined ? name : `${namespace}.${name}`,
  description: null,
  schema: { type: 'object' },
  strict: null,
  ...(namespace !== undefined && { namespace }),
});
const anyName = fc.string({ unit: 'binary', minLength: 1, maxLength: 90 });

describe('legal names', () => {
  test('are short and plain, the same for the same name every time, different for different ones, and lead back', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyName, { maxLength: 10 }), fc.constantFrom(...dialects), (names, to) => {
        const given = names.map((name) => tool(name));
        const [one, other] = [new ToolNames(given, to), new ToolNames(given.toReversed(), to)];
        const legal = one.tools.map(({ name }) => name);
        expect(other.tools.map(({ name }) => name)).toEqual(legal.toReversed());
        expect(new Set(legal).size).toBe(names.length);
        for (const each of legal) expect(each).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
        expect(names.map((name) => one.legal(name))).toEqual(legal);
        expect(legal.map((each) => one.original(each))).toEqual(names);
      }),
    );
  });

  test('are those of a namespace and of a tool apart where there are namespaces, and one name elsewhere', () => {
    const [apart] = new ToolNames([tool('re ad', 'fs')], 'responses').tools;
    expect(apart).toMatchObject({ name: `fs.${legalName('re ad', 64)}`, namespace: 'fs' });
    expect(new ToolNames([tool('read', 'fs')], 'chat').tools[0]?.name).toBe(legalName('fs.read', 64));
  });

  test('lead back from a call of a tool that is not there any more, but not before one that is', () => {
    const names = new ToolNames([tool(legalName('a/b', 64))], 'chat');
    expect(names.original(names.legal('c/d'))).toBe('c/d');
    expect(names.original(names.legal('a/b'))).toBe(legalName('a/b', 64));
  });

  test.each([
    ['a name and the legal form of another', [tool('a/b'), tool(legalName('a/b', 64))]],
    ['a name and one in a namespace', [tool('b', 'a'), tool('a.b')]],
    ['one name twice', [tool('a'), tool('a')]],
  ])('of two tools that nobody could tell apart are refused: %s', (_, tools) => {
    for (const to of dialects.filter((each) => each === 'chat' || tools[0]?.namespace === undefined)) {
      for (const each of [tools, tools.toReversed()]) {
        const error = refusalOf(() => new ToolNames(each, to));
        expect(error).toMatchObject({ code: 'invalid_argument', members: { param: 'tools' } });
      }
    }
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
    const legal = (given: readonly string[]) =>
      withLegalNames(aConversation({ turns: given.flatMap(exchange) }), 'chat').conversation;
    fc.assert(
      fc.property(fc.array(fc.constantFrom('call_0', 'functions.f:0', 'x'.repeat(60)), { maxLength: 8 }), (given) => {
        const whole = ids(legal(given));
        const part = ids(legal(given.slice(0, -1)));
        expect(whole.slice(0, part.length)).toEqual(part);
        expect(new Set(whole).size).toBe(given.length);
        expect(whole.filter((_, i) => i % 2 === 0)).toEqual(whole.filter((_, i) => i % 2 === 1));
        for (const id of whole) expect(id).toMatch(/^[a-zA-Z0-9_-]{1,40}$/);
      }),
    );
  });
});
