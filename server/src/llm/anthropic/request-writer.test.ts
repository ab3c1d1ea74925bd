import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { outputTokensDefault } from '../../base/limits.ts';
import { type Capabilities, fullCapabilities } from '../capabilities.ts';
import type {
  AssistantBlock,
  CacheMark,
  ContentBlock,
  Conversation,
  JsonObject,
  ReasoningBlock,
  Target,
  TextBlock,
  Tool,
  Turn,
} from '../conversation.ts';
import { Losses } from '../losses.ts';
import { conversationIn } from '../testing/arbitrary.ts';
import { aConversation, userTurn } from '../testing/conversations.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const marksAlone: Capabilities = { ...fullCapabilities, promptCaching: 'explicit' };

function writeText(change: Partial<Conversation>, can: Partial<Capabilities> = {}, losses = new Losses('refuse')) {
  const target: Target = { model: 'claude', capabilities: { ...marksAlone, ...can }, lossy: 'refuse' };
  return writeRequest(aConversation(change), target, losses);
}

function write(change: Partial<Conversation>, can: Partial<Capabilities> = {}, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  return { body: JSON.parse(writeText(change, can, losses)), dropped: losses.names };
}

/** What becomes of one block, and what was lost. */
function writeBlock(block: ContentBlock | AssistantBlock, lossy: 'refuse' | 'allow' = 'refuse') {
  const isModels = block.type === 'reasoning' || block.type === 'tool_call';
  const turn = { role: isModels ? 'assistant' : 'user', blocks: [block] } as Turn;
  const { body, dropped } = write({ turns: [userTurn('a'), turn] }, {}, lossy);
  return { block: body.messages[1]?.content[0], dropped };
}

describe('writing a Messages request', () => {
  test('says nothing of tools, sampling or thinking where nothing was asked', () => {
    expect(write({ toolChoice: { mode: 'auto', parallel: false } }).body).toEqual({
      model: 'claude',
      max_tokens: 1000,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }],
    });
  });

  test('takes max_tokens from the caller, bounded by the target, else from the target, else it is the usual one', () => {
    expect(write({ maxOutputTokens: 10 }).body.max_tokens).toBe(10);
    expect(write({ maxOutputTokens: 10 }, { maxOutputTokens: 5 }).body.max_tokens).toBe(5);
    expect(write({ maxOutputTokens: null }, { maxOutputTokens: 5 }).body.max_tokens).toBe(5);
    expect(write({ maxOutputTokens: null }).body.max_tokens).toBe(outputTokensDefault);
  });

  test('refuses a temperature above 1 and a blank stop sequence by name, or drops them with leave', () => {
    expect(refusalOf(() => write({ temperature: 1.5 })).members.param).toBe('temperature');
    expect(refusalOf(() => write({ stop: ['\n'] })).members.param).toBe('stop');
    const { body, dropped } = write({ temperature: 1.5, stop: ['\n', 'x'] }, {}, 'allow');
    expect(body.temperature).toBeUndefined();
    expect(body.stop_sequences).toEqual(['x']);
    expect(dropped).toEqual(['temperature', 'stop']);
  });

  test('refuses an empty message by name, and a request of system prompts alone', () => {
    const turns: Turn[] = [userTurn('hi'), { role: 'assistant', blocks: [] }];
    expect(refusalOf(() => write({ turns })).members.param).toBe('messages');
    expect(write({ turns }, {}, 'allow')).toMatchObject({ body: { messages: [{}] }, dropped: ['messages'] });
    expect(refusalOf(() => write({ turns: [] })).members.param).toBe('messages');
  });

  test('refuses arguments in the history that are no JSON object, and keeps large numbers in them exact', () => {
    const turns = (argumentsJson: string): Turn[] => [
      userTurn('hi'),
      { role: 'assistant', blocks: [{ type: 'tool_call', id: 'c', name: 'f', argumentsJson }] },
    ];
    for (const bad of ['', '[]', '"x"', '{"a":', 'null', '['.repeat(100) + ']'.repeat(100)]) {
      expect(refusalOf(() => write({ turns: turns(bad) })).message).toContain('"c"');
    }
    expect(writeText({ turns: turns('{"id":12345678901234567890}') })).toContain('"input":{"id":12345678901234567890}');
  });

  test.each<[Conversation['reasoning'], object]>([
    [{ effort: 'none', budgetTokens: null, show: null }, { thinking: { type: 'disabled' } }],
    [{ effort: null, budgetTokens: null, show: null }, { thinking: { type: 'adaptive' } }],
    [
      { effort: 'minimal', budgetTokens: null, show: true },
      { thinking: { type: 'adaptive', display: 'summarized' }, output_config: { effort: 'low' } },
    ],
    [
      { effort: null, budgetTokens: 2000, show: false },
      { thinking: { type: 'enabled', budget_tokens: 2000, display: 'omitted' } },
    ],
  ])('tells the model to think by %j as %j', (reasoning, told) => {
    const { thinking, output_config } = write({ reasoning }).body;
    expect({ thinking, output_config }).toEqual({ output_config: undefined, ...told });
  });

  test('asks for structured output by its schema, next to the effort; any JSON object is more than it can ask', () => {
    const outputFormat = { name: 'o', description: null, schema: { type: 'object' }, strict: false };
    const reasoning = { effort: 'high', budgetTokens: null, show: null } as const;
    expect(write({ outputFormat, reasoning })).toMatchObject({
      body: { output_config: { effort: 'high', format: { type: 'json_schema', schema: { type: 'object' } } } },
      dropped: [],
    });
    expect(write({ outputFormat: { ...outputFormat, description: 'd' } }).dropped).toEqual([
      'output_format.description',
    ]);
    const anyObject = { outputFormat: { ...outputFormat, schema: null } };
    expect(refusalOf(() => write(anyObject)).members.param).toBe('output_format');
    expect(write(anyObject, {}, 'allow')).toMatchObject({ dropped: ['output_format'] });
  });

  test('maps the service tier, and lists a verbosity that it cannot ask for', () => {
    expect(write({ serviceTier: 'standard' }).body.service_tier).toBe('standard_only');
    expect(write({ serviceTier: 'auto' }).body.service_tier).toBe('auto');
    expect([write({ verbosity: 'low' }).dropped, write({ verbosity: 'medium' }).dropped]).toEqual([['verbosity'], []]);
  });

  test('gives a tool with free text as an ordinary tool', () => {
    const tools: Tool[] = [{ name: 'f', description: 'd', schema: { type: 'object' }, strict: null, freeform: true }];
    expect(write({ tools }).body.tools).toEqual([{ name: 'f', description: 'd', input_schema: { type: 'object' } }]);
  });
});

describe('writing a block', () => {
  test('keeps images that the vendor reads, refuses others by name, and lists the wish for a resolution', () => {
    const png = { kind: 'base64', mediaType: 'image/png', data: 'iVBO' } as const;
    expect(writeBlock({ type: 'image', source: png, detail: 'auto' })).toEqual({
      block: { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBO' } },
      dropped: [],
    });
    expect(writeBlock({ type: 'image', source: { kind: 'url', url: 'https://x' }, detail: 'low' })).toEqual({
      block: { type: 'image', source: { type: 'url', url: 'https://x' } },
      dropped: ['image.detail'],
    });
    const bmp = { type: 'image', source: { ...png, mediaType: 'image/bmp' }, detail: null } as const;
    expect(refusalOf(() => writeBlock(bmp)).members.param).toBe('image');
  });

  test('keeps documents: PDF, text however it came, and URLs; refuses others by name', () => {
    const base64 = (mediaType: string, data: string) => ({ kind: 'base64', mediaType, data }) as const;
    const source = (given: Extract<ContentBlock, { type: 'document' }>['source']) =>
      writeBlock({ type: 'document', source: given, title: 'T' }).block;
    const words = { type: 'text', media_type: 'text/plain', data: 'wörter' };
    expect(source(base64('application/pdf', 'JVBE'))).toEqual({
      type: 'document',
      source: { type: 'base64', media_type: 'application/pdf', data: 'JVBE' },
      title: 'T',
    });
    expect(source(base64('text/plain', Buffer.from('wörter').toString('base64'))).source).toEqual(words);
    expect(source({ kind: 'text', text: 'wörter' }).source).toEqual(words);
    expect(source({ kind: 'url', url: 'https://x' }).source).toEqual({ type: 'url', url: 'https://x' });
    const word = { type: 'document', source: base64('application/msword', 'x'), title: null } as const;
    expect(refusalOf(() => writeBlock(word)).members.param).toBe('document');
  });

  test('gives the vendor back what it signed, and takes from a seal only what it knows', () => {
    const thought = (members: JsonObject, dialect: 'anthropic' | 'chat' = 'anthropic'): ReasoningBlock => ({
      type: 'reasoning',
      text: 'hm',
      seal: { dialect, members },
    });
    expect(writeBlock(thought({ signature: 's', cache_control: {}, type: 'text' })).block).toEqual({
      type: 'thinking',
      thinking: 'hm',
      signature: 's',
    });
    expect(writeBlock(thought({ redacted: 'd', thinking: 'x' })).block).toEqual({
      type: 'redacted_thinking',
      data: 'd',
    });
    for (const none of [
      thought({ signature: { a: 1 }, redacted: 5 }),
      thought({}),
      thought({ signature: 's' }, 'chat'),
      { type: 'reasoning', text: 'hm', seal: null } as const,
    ]) {
      expect(writeBlock(none, 'allow')).toEqual({ block: undefined, dropped: ['reasoning', 'messages'] });
    }
  });
});

describe('cache marks of a Messages request', () => {
  const marked = (text: string, lifetime: CacheMark['lifetime'] = 'usual'): TextBlock => ({
    type: 'text',
    text,
    cache: { lifetime },
  });

  test('stand where they were, with their lifetime', () => {
    const tools: Tool[] = [{ name: 'f', description: null, schema: {}, strict: null, cache: { lifetime: 'long' } }];
    const { body } = write({ tools, system: [marked('s')], turns: [{ role: 'user', blocks: [marked('a')] }] });
    expect(body.tools[0].cache_control).toEqual({ type: 'ephemeral', ttl: '1h' });
    expect(body.system[0].cache_control).toEqual({ type: 'ephemeral' });
    expect(body.messages[0].content[0].cache_control).toEqual({ type: 'ephemeral' });
  });

  test('are four at most, the last ones, and the others are listed', () => {
    const blocks = ['a', 'b', 'c', 'd', 'e'].map((each) => marked(each));
    const { body, dropped } = write({ system: [marked('s')], turns: [{ role: 'user', blocks }] });
    const kept = [...body.system, ...body.messages[0].content].filter(({ cache_control }) => cache_control);
    expect(kept.map(({ text }) => text)).toEqual(['b', 'c', 'd', 'e']);
    expect(dropped).toEqual(['cache_control']);
  });

  test('are one word for the whole request where the target caches so and the caller made none', () => {
    const automatic = { promptCaching: 'automatic' } as const;
    expect(write({}, automatic).body.cache_control).toEqual({ type: 'ephemeral' });
    expect(write({ system: [marked('s')] }, automatic).body).not.toHaveProperty('cache_control');
    expect(write({}).body).not.toHaveProperty('cache_control');
    expect(write({}, { promptCaching: 'none' }).body).not.toHaveProperty('cache_control');
  });
});

describe('a conversation', () => {
  test('written and read again is the same', () => {
    fc.assert(
      fc.property(conversationIn(['anthropic']), (value) => {
        const losses = new Losses('refuse');
        const written = writeText(value, {}, losses);
        expect({ ...parseRequest(JSON.parse(written), losses), model: 'm' }).toEqual(value);
        expect(losses.names).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
