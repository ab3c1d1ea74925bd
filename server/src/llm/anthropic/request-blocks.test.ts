import { describe, expect, test } from 'vitest';
import { Losses } from '../losses.ts';
import { sealToText } from '../seal.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest } from './request.ts';

const asked = { role: 'user', content: 'go' };
const call = { type: 'tool_use', id: 'toolu_1', name: 'f', input: { a: 1 } };
const called = { role: 'assistant', content: [call] };
const cache_control = { type: 'ephemeral' };
const text = (value: string) => ({ type: 'text', text: value });

function parse(body: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  const conversation = parseRequest({ model: 'm', max_tokens: 10, messages: [asked], ...body }, losses);
  return { conversation, turns: conversation.turns, dropped: losses.names };
}

/** The blocks that one block of a user or of a model becomes, and what was lost. */
function parseBlock(block: object, role: 'user' | 'assistant' = 'user', lossy: 'refuse' | 'allow' = 'refuse') {
  const { turns, dropped } = parse({ messages: [{ role, content: [block] }] }, lossy);
  return { blocks: turns[0]?.blocks, dropped };
}

function parseResult(result: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const content = [{ type: 'tool_result', tool_use_id: 'toolu_1', ...result }];
  const { turns, dropped } = parse({ messages: [asked, called, { role: 'user', content }] }, lossy);
  return { blocks: turns[2]?.blocks, dropped };
}

describe('the messages of a request', () => {
  test('are read in normal form: roles in a row are one turn, empty texts are none', () => {
    const { conversation } = parse({
      system: [text('be brief'), text('')],
      messages: [
        { role: 'user', content: 'a' },
        { role: 'user', content: [text(''), text('b')] },
        { role: 'assistant', content: [text('calling'), call] },
        {
          role: 'user',
          content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [text('r')], is_error: true }, text('c')],
        },
        { role: 'system', content: 'from now on' },
      ],
    });
    expect(conversation.system).toEqual([text('be brief')]);
    expect(conversation.turns).toEqual([
      { role: 'user', blocks: [text('a'), text('b')] },
      {
        role: 'assistant',
        blocks: [text('calling'), { type: 'tool_call', id: 'toolu_1', name: 'f', argumentsJson: '{"a":1}' }],
      },
      {
        role: 'user',
        blocks: [{ type: 'tool_result', callId: 'toolu_1', content: [text('r')], isError: true }, text('c')],
      },
      { role: 'system', blocks: [text('from now on')] },
    ]);
  });

  test('keep every cache mark with its lifetime', () => {
    const cache = { lifetime: 'usual' };
    const { conversation, dropped } = parse({
      system: [{ ...text('s'), cache_control: { type: 'ephemeral', ttl: '1h', scope: 'global' } }],
      messages: [
        { role: 'user', content: [{ ...text('a'), cache_control }, text('b')] },
        { role: 'assistant', content: [{ ...call, cache_control: { type: 'ephemeral', ttl: '5m' } }] },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: [{ ...text('r'), cache_control }], cache_control },
            { type: 'image', source: { type: 'url', url: 'https://x/y' }, cache_control },
            { type: 'document', source: { type: 'url', url: 'https://x/y' }, cache_control },
          ],
        },
      ],
    });
    expect(conversation.system).toEqual([{ ...text('s'), cache: { lifetime: 'long' } }]);
    expect(conversation.turns).toMatchObject([
      { blocks: [{ cache }, {}] },
      { blocks: [{ cache }] },
      { blocks: [{ cache, content: [{ cache }] }, { cache }, { cache }] },
    ]);
    expect(conversation.turns[0]?.blocks[1]).toEqual(text('b'));
    expect(dropped).toEqual(['system.cache_control.scope']);
  });

  test('keep images by base64 and by URL, from people and from tools (case 17)', () => {
    const source = { type: 'base64', media_type: 'image/png', data: 'iVBO' };
    const image = { type: 'image', source: { kind: 'base64', mediaType: 'image/png', data: 'iVBO' }, detail: null };
    expect(parseBlock({ type: 'image', source })).toEqual({ blocks: [image], dropped: [] });
    expect(parseBlock({ type: 'image', source: { type: 'url', url: 'https://x/y' } }).blocks).toEqual([
      { ...image, source: { kind: 'url', url: 'https://x/y' } },
    ]);
    expect(parseResult({ content: [{ type: 'image', source }, text('seen')] }).blocks).toMatchObject([
      { content: [image, text('seen')] },
    ]);
  });

  test.each([
    [
      { type: 'base64', media_type: 'application/pdf', data: 'JVBE' },
      { kind: 'base64', mediaType: 'application/pdf', data: 'JVBE' },
    ],
    [
      { type: 'url', url: 'https://x/y.pdf' },
      { kind: 'url', url: 'https://x/y.pdf' },
    ],
    [
      { type: 'text', media_type: 'text/plain', data: 'words' },
      { kind: 'text', text: 'words' },
    ],
    [
      { type: 'content', content: 'words' },
      { kind: 'text', text: 'words' },
    ],
    [
      { type: 'content', content: [text('two'), text('parts')] },
      { kind: 'text', text: 'two\nparts' },
    ],
  ])('keep a document from %j, with its title, and its context as text before it', (source, read) => {
    const document = { type: 'document', source, title: 'T', context: 'from the file', citations: { enabled: false } };
    const blocks = [text('from the file'), { type: 'document', source: read, title: 'T' }];
    expect(parseBlock(document)).toEqual({ blocks, dropped: [] });
    expect(parseResult({ content: [document] }).blocks).toMatchObject([{ content: blocks }]);
    expect(parseBlock({ type: 'document', source }).blocks).toEqual([{ type: 'document', source: read, title: null }]);
  });

  test('say in words that a tool was loaded, which the vendor would show the model', () => {
    const { blocks, dropped } = parseResult({ content: [{ type: 'tool_reference', tool_name: 'WebFetch' }] });
    expect(blocks).toMatchObject([{ content: [text('The tool WebFetch is loaded.')] }]);
    expect(dropped).toEqual(['tool_reference']);
  });

  test('keep thinking with what proves it: the vendor’s signature, its encrypted form, or another provider’s seal', () => {
    const thinking = (signature: string) => ({ type: 'thinking', thinking: 'hm', signature });
    const seal = (members: object, dialect = 'anthropic') => ({ dialect, members });
    const read = (block: object) => parseBlock(block, 'assistant').blocks;
    expect(read(thinking('EqQB'))).toEqual([{ type: 'reasoning', text: 'hm', seal: seal({ signature: 'EqQB' }) }]);
    expect(read({ type: 'redacted_thinking', data: 'Emw' })).toEqual([
      { type: 'reasoning', text: '', seal: seal({ redacted: 'Emw' }) },
    ]);
    const foreign = { dialect: 'chat', members: { fields: ['reasoning_content'] } } as const;
    expect(read(thinking(sealToText(foreign)))).toEqual([{ type: 'reasoning', text: 'hm', seal: foreign }]);
    expect(read(thinking(''))).toEqual([{ type: 'reasoning', text: 'hm', seal: null }]);
    expect(read({ type: 'thinking', thinking: '', signature: 'EqQB' })).toEqual([
      { type: 'reasoning', text: '', seal: seal({ signature: 'EqQB' }) },
    ]);
    expect(read({ type: 'thinking', thinking: '', signature: '' })).toEqual([]);
  });

  test('may hold what an answer of this dialect holds; of citations the text stays', () => {
    const { dropped } = parse({
      messages: [
        asked,
        {
          role: 'assistant',
          content: [
            { ...text('a'), citations: null },
            { ...text('b'), citations: [{ type: 'char_location', cited_text: 'b' }] },
            { ...call, caller: { type: 'direct' }, toolset_name: null },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1' }] },
      ],
    });
    expect(dropped).toEqual(['messages.content.citations']);
  });

  test('of a document lose a cache mark within it, and say so', () => {
    const marked = { ...text('x'), cache_control: { type: 'ephemeral' } };
    const { dropped } = parseBlock({ type: 'document', source: { type: 'content', content: [marked] } });
    expect(dropped).toEqual(['cache_control']);
  });

  const document = { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'x' } };
  test.each([
    ['', { type: 'search_result', source: 's', title: 't', content: [text('x')] }],
    ['', { type: 'container_upload', file_id: 'f' }],
    ['', { type: 'a_block_of_tomorrow' }],
    ['.source', { type: 'image', source: { type: 'file', file_id: 'f' } }],
    ['.source', { type: 'document', source: { type: 'file', file_id: 'f' } }],
    ['.source.content[0]', { type: 'document', source: { type: 'content', content: [{ type: 'image', source: {} }] } }],
    ['.transformations', { type: 'image', source: { type: 'url', url: 'u' }, transformations: { resize: 1 } }],
    ['.citations', { ...document, citations: { enabled: true } }],
    ['.tomorrow', { ...document, tomorrow: 1 }],
  ])('with a block that has no counterpart are refused by name, at its place%s: %j', (at, block) => {
    const path = `messages[0].content[0]${at}`;
    expect(refusalOf(() => parseBlock(block)).members.param).toBe(path);
    expect(parseBlock(block, 'user', 'allow').dropped).toEqual([path.replaceAll(/\[\d+\]/g, '')]);
    expect(refusalOf(() => parseResult({ content: [block] })).members.param).toBe(
      `messages[2].content[0].content[0]${at}`,
    );
  });

  test.each([
    ['', { type: 'server_tool_use', id: 's', name: 'web_search', input: {} }],
    ['', { type: 'compaction', content: 'c' }],
    ['.caller', { ...call, caller: { type: 'code_execution_20260120', tool_id: 'x' } }],
    ['.toolset_name', { ...call, toolset_name: 'browser' }],
  ])('with a block of the model that has no counterpart are refused by name, at its place%s: %j', (at, block) => {
    const path = `messages[0].content[0]${at}`;
    expect(refusalOf(() => parseBlock(block, 'assistant')).members.param).toBe(path);
    expect(parseBlock(block, 'assistant', 'allow').dropped).toEqual([path.replaceAll(/\[\d+\]/g, '')]);
  });

  test.each([
    ['messages', { messages: [] }],
    ['messages', { messages: 'hi' }],
    ['messages[0].role', { messages: [{ role: 'tool', content: 'x' }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: 5 }] }],
    ['messages[0].content[0].source', { messages: [{ role: 'user', content: [{ type: 'image' }] }] }],
    ['messages[1].content[0].input', { messages: [asked, { role: 'assistant', content: [{ ...call, input: '{}' }] }] }],
  ])('are refused for a malformed %s, lossy or not', (path, body) => {
    expect(refusalOf(() => parse(body, 'allow')).members.param).toBe(path);
  });

  test('are refused by name for a member of a message that no other dialect has', () => {
    const messages = [{ role: 'user', content: 'hi', name: 'bob' }];
    expect(refusalOf(() => parse({ messages })).members.param).toBe('messages[0].name');
  });

  test.each([
    ['no call', [asked, { role: 'assistant', content: 'ok' }]],
    ['a call of an older turn', [asked, called, { role: 'user', content: 'no' }, { role: 'assistant', content: 'ok' }]],
    [
      'a call that was answered',
      [asked, called, { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1' }] }],
    ],
  ])('with a tool result for %s are refused by the id (case 16)', (_, messages) => {
    const orphan = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'r' }] };
    expect(refusalOf(() => parse({ messages: [...messages, orphan] }, 'allow')).message).toContain('"toolu_1"');
  });

  test('with text before a tool result, or two calls of one id, are refused', () => {
    const late = [text('x'), { type: 'tool_result', tool_use_id: 'toolu_1' }];
    expect(refusalOf(() => parse({ messages: [asked, called, { role: 'user', content: late }] })).message).toContain(
      'before the other content',
    );
    const twice = { role: 'assistant', content: [call, call] };
    expect(refusalOf(() => parse({ messages: [asked, twice] })).message).toContain('toolu_1');
  });
});
