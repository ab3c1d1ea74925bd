import { describe, expect, test } from 'vitest';
import { type Capabilities, fullCapabilities } from './capabilities.ts';
import type { Conversation, DocumentBlock, ImageBlock, ReasoningBlock, TextBlock } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import { fitTo } from './fit.ts';
import { Losses } from './losses.ts';
import { aConversation, userTurn } from './testing/conversations.ts';
import { refusalOf } from './testing/refusal.ts';

function fit(
  change: Partial<Conversation>,
  capabilities: Partial<Capabilities> = {},
  { to = 'chat', lossy = 'refuse' }: { to?: Dialect; lossy?: 'refuse' | 'allow' } = {},
) {
  const losses = new Losses(lossy);
  const fitted = fitTo(aConversation(change), to, { ...fullCapabilities, ...capabilities }, losses);
  return { fitted, turns: fitted.turns, dropped: losses.names };
}

const text = (value: string): TextBlock => ({ type: 'text', text: value });
const image: ImageBlock = { type: 'image', source: { kind: 'url', url: 'https://x/y.png' }, detail: null };
const pdf: DocumentBlock = {
  type: 'document',
  source: { kind: 'base64', mediaType: 'application/pdf', data: 'JVBERi0=' },
  title: null,
};
const note: DocumentBlock = { type: 'document', source: { kind: 'text', text: 'body' }, title: 'Note' };
const tool = { name: 'f', description: null, schema: { type: 'object', not: {} }, strict: true };
const call = { type: 'tool_call', id: 'c', name: 'f', argumentsJson: '{}' } as const;
const result = (...content: (TextBlock | ImageBlock | DocumentBlock)[]) =>
  ({ type: 'tool_result', callId: 'c', content, isError: false }) as const;
const thought = (dialect: Dialect | null): ReasoningBlock => ({
  type: 'reasoning',
  text: 'hm',
  seal: dialect && { dialect, members: {} },
});

describe('a conversation for a model', () => {
  test('that can do all stays as it is, but for what is of another provider', () => {
    const whole: Partial<Conversation> = {
      system: [text('s')],
      turns: [
        { role: 'user', blocks: [text('a'), image, pdf, note] },
        { role: 'assistant', blocks: [thought('chat'), call] },
        { role: 'user', blocks: [result(text('b'), image, pdf)] },
      ],
      tools: [tool],
      temperature: 0.5,
      topP: 0.5,
      outputFormat: { name: 'o', description: null, schema: {}, strict: true },
      reasoning: { effort: 'low', budgetTokens: null, show: null },
    };
    expect(fit(whole)).toMatchObject({ fitted: aConversation(whole), dropped: [] });
  });

  test('keeps the reasoning of its own provider and no other (case 18), and lists what it lost', () => {
    const turns: Conversation['turns'] = [
      userTurn('a'),
      { role: 'assistant', blocks: [thought('anthropic'), thought('chat'), thought(null), text('b')] },
    ];
    expect(fit({ turns })).toMatchObject({
      turns: [{}, { blocks: [thought('chat'), text('b')] }],
      dropped: ['reasoning'],
    });
    expect(fit({ turns }, {}, { to: 'anthropic' }).turns[1]?.blocks).toEqual([thought('anthropic'), text('b')]);
  });

  test('that lost a whole turn still takes turns; an empty turn of the caller is left for the writer to name', () => {
    const turns: Conversation['turns'] = [
      userTurn('a'),
      { role: 'assistant', blocks: [thought('anthropic')] },
      userTurn('b'),
      { role: 'assistant', blocks: [] },
    ];
    expect(fit({ turns }).turns).toEqual([
      { role: 'user', blocks: [text('a'), text('b')] },
      { role: 'assistant', blocks: [] },
    ]);
    expect(turns[0]?.blocks).toHaveLength(1);
  });

  test.each([
    ['image', { images: false }, image],
    ['document', { documents: false }, pdf],
  ])(
    'without vision refuses an %s by name (case 17), or drops it with leave, in messages and results',
    (name, can, block) => {
      const said: Conversation['turns'] = [{ role: 'user', blocks: [text('a'), block] }];
      const answered: Conversation['turns'] = [
        userTurn('a'),
        { role: 'assistant', blocks: [call] },
        { role: 'user', blocks: [result(block)] },
      ];
      for (const turns of [said, answered]) {
        expect(refusalOf(() => fit({ turns }, can))).toMatchObject({
          code: 'invalid_argument',
          members: { param: name },
        });
        expect(fit({ turns }, can, { lossy: 'allow' }).dropped).toEqual([name]);
      }
      expect(fit({ turns: said }, can, { lossy: 'allow' }).turns).toEqual([userTurn('a')]);
      expect(fit({ turns: answered }, can, { lossy: 'allow' }).turns[2]?.blocks).toEqual([result()]);
    },
  );

  test('without documents gets one of plain text as text, with its title', () => {
    const turns: Conversation['turns'] = [{ role: 'user', blocks: [{ ...note, cache: { lifetime: 'long' } }] }];
    const { turns: fitted, dropped } = fit({ turns }, { documents: false, promptCaching: 'explicit' });
    expect(fitted[0]?.blocks).toEqual([{ type: 'text', text: 'Note\n\nbody', cache: { lifetime: 'long' } }]);
    expect(dropped).toEqual([]);
  });

  test('without tools refuses them by name, or drops them with leave, with the choice among them', () => {
    const asked = { tools: [tool], toolChoice: { mode: 'required', parallel: false } } as const;
    expect(refusalOf(() => fit(asked, { tools: false })).members.param).toBe('tools');
    expect(fit(asked, { tools: false }, { lossy: 'allow' }).fitted).toMatchObject({
      tools: [],
      toolChoice: { mode: 'auto', parallel: true },
    });
    expect(fit({}, { tools: false }).dropped).toEqual([]);
  });

  test('with one call at a time is told so, and simple schemas are made simple', () => {
    const { fitted, dropped } = fit({ tools: [tool] }, { parallelTools: false, toolSchemas: 'basic' });
    expect(fitted.toolChoice).toEqual({ mode: 'auto', parallel: false });
    expect(fitted.tools).toEqual([{ ...tool, schema: { type: 'object' }, strict: null }]);
    expect(dropped).toEqual(['tools.schema', 'tools.strict']);
  });

  test.each<[string, Conversation['toolChoice'], readonly string[]]>([
    ['any', { mode: 'required', parallel: true }, []],
    ['one of them', { mode: 'tool', name: 'g', parallel: true }, ['f']],
  ])(
    'that is told to call %s of its tools, where it is not there any more, refuses that by name',
    (_, toolChoice, names) => {
      const asked = { tools: names.map((name) => ({ ...tool, name })), toolChoice };
      expect(refusalOf(() => fit(asked)).members.param).toBe('tool_choice');
      expect(fit(asked, {}, { lossy: 'allow' })).toMatchObject({
        fitted: { toolChoice: { mode: 'auto', parallel: true } },
        dropped: ['tool_choice'],
      });
      const whole = { toolChoice, tools: ['f', 'g'].map((name) => ({ ...tool, name })) };
      expect(fit(whole).fitted.toolChoice).toEqual(toolChoice);
    },
  );

  test('of OpenAI is not held strictly to a schema with members that may be left out, which it refuses', () => {
    const schema = { type: 'object', properties: { a: {} } };
    const required = { ...schema, required: ['a'] };
    const format = { name: 'o', description: null, strict: true };
    for (const to of ['chat', 'responses'] as const) {
      const open = fit({ tools: [{ ...tool, schema }], outputFormat: { ...format, schema } }, {}, { to });
      expect(open.fitted).toMatchObject({ tools: [{ strict: false }], outputFormat: { strict: false, schema } });
      expect(open.dropped.toSorted()).toEqual(['output_format.strict', 'tools.strict']);
      const closed = { tools: [{ ...tool, schema: required }], outputFormat: { ...format, schema: required } };
      expect(fit(closed, {}, { to })).toMatchObject({ fitted: closed, dropped: [] });
    }
    expect(fit({ tools: [{ ...tool, schema }] }, {}, { to: 'anthropic' }).fitted.tools[0]?.strict).toBe(true);
  });

  test('without sampling refuses temperature and top_p by name, but for 1, which is what it does', () => {
    expect(fit({ temperature: 1, topP: 1 }, { sampling: false }).fitted).toMatchObject({
      temperature: null,
      topP: null,
    });
    expect(refusalOf(() => fit({ temperature: 0 }, { sampling: false })).members.param).toBe('temperature');
    expect(refusalOf(() => fit({ topP: 0.9 }, { sampling: false })).members.param).toBe('top_p');
  });

  test('without structured output refuses it by name', () => {
    const outputFormat = { name: 'o', description: null, schema: {}, strict: true };
    expect(refusalOf(() => fit({ outputFormat }, { structuredOutput: false })).members.param).toBe('output_format');
    expect(fit({ outputFormat }, { structuredOutput: false }, { lossy: 'allow' })).toMatchObject({
      fitted: { outputFormat: null },
      dropped: ['output_format'],
    });
  });

  test.each([
    ['explicit', 'chat', true],
    ['explicit', 'anthropic', true],
    ['automatic', 'chat', false],
    ['automatic', 'anthropic', true],
    ['none', 'chat', false],
    ['none', 'anthropic', false],
  ] as const)('that caches in a way called %s, in the dialect %s, keeps marks: %s', (promptCaching, to, keeps) => {
    const system: TextBlock[] = [{ ...text('s'), cache: { lifetime: 'usual' } }];
    const { fitted, dropped } = fit({ system }, { promptCaching }, { to });
    expect(fitted.system).toEqual(keeps ? system : [text('s')]);
    expect(dropped).toEqual(keeps ? [] : ['cache_control']);
  });

  test('at Anthropic has no text of white space alone, nor a temperature beside a top_p where one of them is 1', () => {
    const blank: Partial<Conversation> = {
      system: [text('\n')],
      turns: [userTurn('a'), { role: 'assistant', blocks: [text('\n\n'), call] }],
    };
    expect(fit(blank, {}, { to: 'anthropic' })).toMatchObject({
      fitted: { system: [], turns: [userTurn('a'), { blocks: [call] }] },
      dropped: ['blank_text'],
    });
    expect(fit(blank).dropped).toEqual([]);
    const sampled = (temperature: number, topP: number) => {
      const { fitted } = fit({ temperature, topP }, {}, { to: 'anthropic' });
      return [fitted.temperature, fitted.topP];
    };
    expect([sampled(0, 1), sampled(1, 0.5), sampled(1, 1), sampled(0.5, 0.5)]).toEqual([
      [0, null],
      [null, 0.5],
      [1, null],
      [0.5, 0.5],
    ]);
  });

  test('decides how to think by what is left of the conversation: another provider’s reasoning does not count', () => {
    const turns: Conversation['turns'] = [
      userTurn('a'),
      { role: 'assistant', blocks: [thought('chat'), call] },
      { role: 'user', blocks: [result()] },
    ];
    const reasoning = { effort: null, budgetTokens: 2_000, show: null };
    const wide = { turns, reasoning, maxOutputTokens: 10_000 };
    expect(fit(wide, { reasoning: 'budget' }, { to: 'anthropic' }).fitted.reasoning).toBeNull();
  });
});
