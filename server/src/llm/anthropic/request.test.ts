import { describe, expect, test } from 'vitest';
import type { Conversation, Target } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const base = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] };
const call = { type: 'tool_use', id: 'toolu_1', name: 'f', input: { a: 1 } };
const asked = { role: 'user', content: 'go' };

function parse(body: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  return { conversation: parseRequest({ ...base, ...body }, losses), dropped: losses.names };
}

describe('a Messages request', () => {
  test('is read in normal form: roles in a row are one turn, empty texts are none', () => {
    const { conversation } = parse({
      system: [
        { type: 'text', text: 'be brief' },
        { type: 'text', text: '' },
      ],
      messages: [
        { role: 'user', content: 'a' },
        {
          role: 'user',
          content: [
            { type: 'text', text: '' },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'assistant', content: [{ type: 'text', text: 'calling' }, call] },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'r' }], is_error: true },
            { type: 'text', text: 'c' },
          ],
        },
        { role: 'system', content: 'from now on' },
      ],
    });
    expect(conversation.system).toEqual([{ type: 'text', text: 'be brief' }]);
    expect(conversation.turns).toEqual([
      {
        role: 'user',
        blocks: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      {
        role: 'assistant',
        blocks: [
          { type: 'text', text: 'calling' },
          { type: 'tool_call', id: 'toolu_1', name: 'f', argumentsJson: '{"a":1}' },
        ],
      },
      {
        role: 'user',
        blocks: [
          { type: 'tool_result', callId: 'toolu_1', content: [{ type: 'text', text: 'r' }], isError: true },
          { type: 'text', text: 'c' },
        ],
      },
      { role: 'system', blocks: [{ type: 'text', text: 'from now on' }] },
    ]);
  });

  test('keeps sampling, limits, stops, tools and the choice among them', () => {
    const { conversation } = parse({
      temperature: 0.5,
      top_p: 0.9,
      stop_sequences: ['END'],
      stream: true,
      metadata: { user_id: 'u' },
      tools: [{ type: 'custom', name: 'f', description: 'does f', input_schema: { type: 'object' }, strict: true }],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
    });
    expect(conversation).toMatchObject({
      temperature: 0.5,
      topP: 0.9,
      stop: ['END'],
      stream: true,
      user: 'u',
      maxOutputTokens: 10,
      tools: [{ name: 'f', description: 'does f', schema: { type: 'object' }, strict: true }],
      toolChoice: { mode: 'required', parallel: false },
    });
  });

  test.each([
    ['top_k', { top_k: 5 }],
    ['thinking', { thinking: { type: 'adaptive' } }],
    ['output_config', { output_config: { effort: 'high' } }],
    ['service_tier', { service_tier: 'standard_only' }],
    ['a_field_of_tomorrow', { a_field_of_tomorrow: 1 }],
    ['metadata.trace', { metadata: { user_id: 'u', trace: 'x' } }],
    ['messages[0].name', { messages: [{ role: 'user', content: 'hi', name: 'bob' }] }],
    [
      'messages[0].content[0]',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image', source: {} },
              { type: 'text', text: 'x' },
            ],
          },
        ],
      },
    ],
    [
      'messages[1].content[0]',
      {
        messages: [asked, { role: 'assistant', content: [{ type: 'thinking', thinking: 't', signature: 's' }, call] }],
      },
    ],
    [
      'messages[2].content[0].content[0]',
      {
        messages: [
          asked,
          { role: 'assistant', content: [call] },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'document' }] }] },
        ],
      },
    ],
    [
      'messages[1].content[0].caller',
      {
        messages: [
          asked,
          { role: 'assistant', content: [{ ...call, caller: { type: 'code_execution_20260120', tool_id: 'x' } }] },
        ],
      },
    ],
    ['tools[0]', { tools: [{ type: 'bash_20250124', name: 'bash' }] }],
    ['tools[0].defer_loading', { tools: [{ name: 'f', input_schema: { type: 'object' }, defer_loading: true }] }],
  ])('is refused by name for %s, and with leave sent without it', (path, body) => {
    const refusal = refusalOf(() => parse(body));
    expect(refusal.code).toBe('invalid_argument');
    expect(refusal.members.param).toBe(path);
    expect(refusal.message).toContain(`"${path}"`);
    expect(parse(body, 'allow').dropped).toEqual([path.replaceAll(/\[\d+\]/g, '')]);
  });

  test('may hold what the other side does anyway, and what an answer of this dialect holds', () => {
    const { dropped } = parse({
      service_tier: 'auto',
      speed: 'standard',
      thinking: { type: 'disabled' },
      container: null,
      tools: [{ name: 'f', input_schema: { type: 'object' }, defer_loading: false, allowed_callers: ['direct'] }],
      messages: [
        asked,
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'a', citations: null },
            { ...call, caller: { type: 'direct' }, toolset_name: null },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1' }] },
      ],
    });
    expect(dropped).toEqual([]);
  });

  test('loses cache marks, which change no answer, on every route and says so', () => {
    const cache_control = { type: 'ephemeral' };
    const { dropped } = parse({
      cache_control,
      system: [{ type: 'text', text: 's', cache_control }],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'x', cache_control },
            { type: 'text', text: 'y', cache_control },
          ],
        },
      ],
    });
    expect(dropped).toEqual(['system.cache_control', 'messages.content.cache_control', 'cache_control']);
  });

  test.each([
    ['messages', { messages: [] }],
    ['messages', { messages: 'hi' }],
    ['messages[0].role', { messages: [{ role: 'tool', content: 'x' }] }],
    ['max_tokens', { max_tokens: 0 }],
    ['max_tokens', { max_tokens: null }],
    ['max_tokens', { max_tokens: '5' }],
    ['model', { model: '' }],
    ['stream', { stream: 'yes' }],
    ['stop_sequences[1]', { stop_sequences: ['a', 1] }],
    ['stop_sequences', { stop_sequences: Array(17).fill('a') }],
    ['tool_choice.type', { tool_choice: { type: 'sometimes' } }],
    ['tools[0].input_schema', { tools: [{ name: 'f' }] }],
    ['messages[1].content[0].input', { messages: [asked, { role: 'assistant', content: [{ ...call, input: '{}' }] }] }],
  ])('is refused for a malformed %s, lossy or not', (path, body) => {
    expect(refusalOf(() => parse(body, 'allow')).members.param).toBe(path);
  });

  test('that is no object at all is refused', () => {
    expect(refusalOf(() => parseRequest([], new Losses('allow'))).code).toBe('invalid_argument');
  });

  test.each([
    ['no call', [asked, { role: 'assistant', content: 'ok' }]],
    [
      'a call of an older turn',
      [
        asked,
        { role: 'assistant', content: [call] },
        { role: 'user', content: 'no' },
        { role: 'assistant', content: 'ok' },
      ],
    ],
    [
      'a call that was answered',
      [
        asked,
        { role: 'assistant', content: [call] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1' }] },
      ],
    ],
  ])('with a tool result for %s is refused by the id', (_, messages) => {
    const orphan = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'r' }] };
    expect(refusalOf(() => parse({ messages: [...messages, orphan] }, 'allow')).message).toContain('"toolu_1"');
  });

  test('with text before a tool result, or two calls of one id, is refused', () => {
    const late = [
      { type: 'text', text: 'x' },
      { type: 'tool_result', tool_use_id: 'toolu_1' },
    ];
    const turn = { role: 'assistant', content: [call] };
    expect(refusalOf(() => parse({ messages: [asked, turn, { role: 'user', content: late }] })).message).toContain(
      'before the text',
    );
    expect(
      refusalOf(() => parse({ messages: [asked, { role: 'assistant', content: [call, call] }] })).message,
    ).toContain('toolu_1');
  });
});

describe('writing a Messages request', () => {
  const conversation: Conversation = parse({}).conversation;
  const target: Target = { model: 'claude', maxOutputTokens: null, lossy: 'refuse' };

  function write(change: Partial<Conversation>, to: Partial<Target> = {}) {
    const losses = new Losses(to.lossy ?? 'refuse');
    return {
      body: JSON.parse(writeRequest({ ...conversation, ...change }, { ...target, ...to }, losses)),
      dropped: losses.names,
    };
  }

  test('takes max_tokens from the caller, bounded by the target, else from the target, else it is refused', () => {
    expect(write({ maxOutputTokens: 10 }).body.max_tokens).toBe(10);
    expect(write({ maxOutputTokens: 10 }, { maxOutputTokens: 5 }).body.max_tokens).toBe(5);
    expect(write({ maxOutputTokens: null }, { maxOutputTokens: 5 }).body.max_tokens).toBe(5);
    expect(refusalOf(() => write({ maxOutputTokens: null })).members.param).toBe('max_completion_tokens');
  });

  test('refuses a temperature above 1 and a blank stop sequence by name, or drops them with leave', () => {
    expect(refusalOf(() => write({ temperature: 1.5 })).members.param).toBe('temperature');
    expect(refusalOf(() => write({ stop: ['\n'] })).members.param).toBe('stop');
    const { body, dropped } = write({ temperature: 1.5, stop: ['\n', 'x'] }, { lossy: 'allow' });
    expect(body.temperature).toBeUndefined();
    expect(body.stop_sequences).toEqual(['x']);
    expect(dropped).toEqual(['temperature', 'stop']);
  });

  test('refuses an empty message by name, and a request of system prompts alone', () => {
    const empty: Conversation['turns'] = [...conversation.turns, { role: 'assistant', blocks: [] }];
    expect(refusalOf(() => write({ turns: empty })).members.param).toBe('messages');
    expect(write({ turns: empty }, { lossy: 'allow' })).toMatchObject({
      body: { messages: [{}] },
      dropped: ['messages'],
    });
    expect(refusalOf(() => write({ turns: [] })).members.param).toBe('messages');
  });

  test('refuses arguments in the history that are no JSON object, and keeps large numbers in them exact', () => {
    const turns = (argumentsJson: string): Conversation['turns'] => [
      ...conversation.turns,
      { role: 'assistant', blocks: [{ type: 'tool_call', id: 'c', name: 'f', argumentsJson }] },
    ];
    for (const bad of ['', '[]', '"x"', '{"a":', 'null', '['.repeat(100) + ']'.repeat(100)]) {
      expect(refusalOf(() => write({ turns: turns(bad) })).message).toContain('"c"');
    }
    const losses = new Losses('refuse');
    const text = writeRequest({ ...conversation, turns: turns('{"id":12345678901234567890}') }, target, losses);
    expect(text).toContain('"input":{"id":12345678901234567890}');
  });

  test('says nothing of tools where there are none', () => {
    expect(write({ toolChoice: { mode: 'auto', parallel: false } }).body).toEqual({
      model: 'claude',
      max_tokens: 10,
      messages: [{ role: 'user', content: 'hi' }],
    });
  });
});
