import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { Conversation, Target } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const base = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
const asked = { role: 'user', content: 'go' };
const call = (id: string, args = '{"a": 1}') => ({ id, type: 'function', function: { name: 'f', arguments: args } });

function parse(body: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  return { conversation: parseRequest({ ...base, ...body }, losses), dropped: losses.names };
}

describe('a Chat Completions request', () => {
  test('is read in normal form: system messages at the start are the prompt, tool messages one turn', () => {
    const { conversation } = parse({
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'developer', content: [{ type: 'text', text: 'be kind' }] },
        { role: 'user', content: 'a' },
        { role: 'user', content: [{ type: 'text', text: 'b' }] },
        { role: 'assistant', content: null, tool_calls: [call('1'), call('2')] },
        { role: 'tool', tool_call_id: '2', content: 'r2' },
        { role: 'tool', tool_call_id: '1', content: [{ type: 'text', text: 'r1' }] },
        { role: 'user', content: 'c' },
        { role: 'developer', content: 'from now on' },
      ],
    });
    expect(conversation.system.map(({ text }) => text)).toEqual(['be brief', 'be kind']);
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
        blocks: ['1', '2'].map((id) => ({ type: 'tool_call', id, name: 'f', argumentsJson: '{"a": 1}' })),
      },
      {
        role: 'user',
        blocks: [
          { type: 'tool_result', callId: '2', content: [{ type: 'text', text: 'r2' }], isError: false },
          { type: 'tool_result', callId: '1', content: [{ type: 'text', text: 'r1' }], isError: false },
          { type: 'text', text: 'c' },
        ],
      },
      { role: 'system', blocks: [{ type: 'text', text: 'from now on' }] },
    ]);
  });

  test('keeps sampling, limits, stops, users, tools and the choice among them', () => {
    const { conversation } = parse({
      temperature: 1.5,
      top_p: 0.9,
      stop: 'END',
      max_completion_tokens: 7,
      stream: true,
      stream_options: { include_usage: true },
      safety_identifier: 'u',
      tools: [
        { type: 'function', function: { name: 'f', parameters: { properties: {} } } },
        { type: 'function', function: { name: 'g' } },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      parallel_tool_calls: false,
    });
    expect(conversation).toMatchObject({
      temperature: 1.5,
      topP: 0.9,
      stop: ['END'],
      maxOutputTokens: 7,
      stream: true,
      streamUsage: true,
      user: 'u',
      tools: [
        { name: 'f', description: null, schema: { type: 'object', properties: {} }, strict: null },
        { name: 'g', schema: { type: 'object', properties: {} } },
      ],
      toolChoice: { mode: 'tool', name: 'f', parallel: false },
    });
  });

  test.each([
    ['n', { n: 2 }],
    ['seed', { seed: 1 }],
    ['logprobs', { logprobs: true }],
    ['frequency_penalty', { frequency_penalty: 0.5 }],
    ['logit_bias', { logit_bias: { 50256: -100 } }],
    ['response_format', { response_format: { type: 'grammar' } }],
    ['response_format.schema', { response_format: { type: 'json_object', schema: { type: 'object' } } }],
    ['response_format.json_schema', { response_format: { type: 'text', json_schema: { name: 'n' } } }],
    ['service_tier', { service_tier: 'priority' }],
    ['store', { store: true }],
    ['moderation', { moderation: { model: 'm' } }],
    ['audio', { audio: { voice: 'ash', format: 'wav' } }],
    ['web_search_options', { web_search_options: { search_context_size: 'low' } }],
    ['web_search_options', { web_search_options: {} }],
    ['a_field_of_tomorrow', { a_field_of_tomorrow: 1 }],
    ['stream_options.every', { stream_options: { every: 1 } }],
    ['tool_choice', { tool_choice: { type: 'web_search' } }],
    ['tools[0]', { tools: [{ type: 'browser_search' }] }],
    ['messages[0].name', { messages: [{ role: 'user', content: 'hi', name: 'bob' }] }],
    [
      'messages[0].content[0]',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
              { type: 'text', text: 'x' },
            ],
          },
        ],
      },
    ],
    ['messages[1].audio', { messages: [asked, { role: 'assistant', content: 'a', audio: { id: 'x' } }] }],
    [
      'messages[1].tool_calls[0]',
      {
        messages: [asked, { role: 'assistant', tool_calls: [{ id: '1', type: 'mcp' }] }],
      },
    ],
  ])('is refused by name for %s, and with leave sent without it', (path, body) => {
    const refusal = refusalOf(() => parse(body));
    expect(refusal.code).toBe('invalid_argument');
    expect(refusal.members.param).toBe(path);
    expect(parse(body, 'allow').dropped).toEqual([path.replaceAll(/\[\d+\]/g, '')]);
  });

  test('may hold what the other side does anyway, and what an answer of this dialect holds', () => {
    const { dropped, conversation } = parse({
      n: 1,
      logprobs: false,
      presence_penalty: 0,
      store: false,
      response_format: { type: 'text' },
      logit_bias: {},
      user: null,
      messages: [
        asked,
        { role: 'assistant', content: null, refusal: 'I cannot.', annotations: [], audio: null, tool_calls: [] },
      ],
    });
    expect(dropped).toEqual([]);
    expect(conversation.turns.at(-1)).toEqual({ role: 'assistant', blocks: [{ type: 'text', text: 'I cannot.' }] });
  });

  test('loses labels and hints to the cache and to the speed on every route and says so', () => {
    const { dropped } = parse({
      prompt_cache_key: 'k',
      prompt_cache_options: { mode: 'explicit' },
      prompt_cache_retention: '24h',
      metadata: { team: 'a' },
      prediction: { type: 'content', content: 'x' },
    });
    expect(dropped).toEqual([
      'metadata',
      'prediction',
      'prompt_cache_key',
      'prompt_cache_options',
      'prompt_cache_retention',
    ]);
  });

  test.each([
    ['messages', { messages: [] }],
    ['messages[0].role', { messages: [{ role: 'function', name: 'f', content: 'x' }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: 5 }] }],
    [
      'messages[1].tool_calls[0].id',
      { messages: [asked, { role: 'assistant', tool_calls: [{ ...call('x'), id: null }] }] },
    ],
    ['max_tokens', { max_tokens: 5, max_completion_tokens: 6 }],
    ['stop', { stop: Array(17).fill('a') }],
    ['max_completion_tokens', { max_completion_tokens: 1.5 }],
    ['user', { user: 'a', safety_identifier: 'b' }],
    ['reasoning_effort', { reasoning_effort: 'extreme' }],
    ['verbosity', { verbosity: 'talkative' }],
    ['response_format.json_schema', { response_format: { type: 'json_schema' } }],
    ['response_format.json_schema.name', { response_format: { type: 'json_schema', json_schema: { schema: {} } } }],
    ['functions', { functions: [{ name: 'f' }] }],
    ['function_call', { function_call: { name: 'f' } }],
    [
      'messages[1].function_call',
      { messages: [asked, { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{}' } }] },
    ],
    [
      'tools[0].function.parameters',
      { tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'array' } } }] },
    ],
  ])('is refused for a malformed %s, lossy or not', (path, body) => {
    expect(refusalOf(() => parse(body, 'allow')).members.param).toBe(path);
  });

  test.each([
    [{ functions: [{ name: 'f' }] }, '"tools"'],
    [{ function_call: { name: 'f' } }, '"tool_choice"'],
    [{ messages: [{ role: 'function', name: 'f', content: 'x' }] }, '"tool"'],
  ])('in the form of before the tools is told what to send: %j', (body, instead) => {
    expect(refusalOf(() => parse(body)).message).toContain(instead);
    expect(parse({ functions: [], function_call: 'auto' }).dropped).toEqual([]);
  });

  test('says how much to think, how long and in what form to answer, and in which queue', () => {
    const schema = { type: 'object', properties: {} };
    expect(
      parse({
        reasoning_effort: 'xhigh',
        verbosity: 'low',
        service_tier: 'default',
        response_format: { type: 'json_schema', json_schema: { name: 'n', description: 'd', schema, strict: true } },
      }).conversation,
    ).toMatchObject({
      reasoning: { effort: 'xhigh', budgetTokens: null, show: null },
      verbosity: 'low',
      serviceTier: 'standard',
      outputFormat: { name: 'n', description: 'd', schema, strict: true },
    });
    expect(parse({ response_format: { type: 'json_object' } }).conversation.outputFormat).toEqual({
      name: null,
      description: null,
      schema: null,
      strict: null,
    });
    expect(parse({ response_format: { type: 'text' } }).conversation.outputFormat).toBeNull();
    expect(parse({}).conversation).toMatchObject({ reasoning: null, verbosity: null, serviceTier: null });
    expect(parse({ service_tier: 'auto' }).conversation.serviceTier).toBe('auto');
  });

  test('with a tool message that answers no call is refused by the id', () => {
    const messages = [
      asked,
      { role: 'assistant', content: 'ok' },
      { role: 'tool', tool_call_id: 'call_9', content: 'r' },
    ];
    expect(refusalOf(() => parse({ messages }, 'allow'))).toMatchObject({
      message: expect.stringContaining('"call_9"'),
      members: { param: 'messages[2]' },
    });
  });
});

describe('writing a Chat Completions request', () => {
  const { conversation } = parse({});
  const target: Target = { model: 'gpt', capabilities: fullCapabilities, lossy: 'refuse' };
  const capped: Target = { ...target, capabilities: { ...fullCapabilities, maxOutputTokens: 5 } };
  const losses = new Losses('refuse');
  const write = (change: Partial<Conversation>, to: Target = target) =>
    JSON.parse(writeRequest({ ...conversation, ...change }, to, losses));

  test('asks a stream for its usage, whether the caller did or not', () => {
    expect(write({ stream: true, streamUsage: false })).toMatchObject({
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test('keeps the limit within what the target gives, and sets none that nobody asked for', () => {
    expect(write({ maxOutputTokens: 10 }, capped).max_completion_tokens).toBe(5);
    expect(write({ maxOutputTokens: null }, capped).max_completion_tokens).toBeUndefined();
    expect(write({ maxOutputTokens: 10 }).max_tokens).toBeUndefined();
    expect(write({ maxOutputTokens: 10 }, { ...target, bothOutputLimits: true })).toMatchObject({
      max_completion_tokens: 10,
      max_tokens: 10,
    });
  });

  test('gives each tool result its own message, marks a failed one, and keeps arguments letter by letter', () => {
    const { messages } = write({
      turns: [
        ...conversation.turns,
        {
          role: 'assistant',
          blocks: [{ type: 'tool_call', id: '1', name: 'f', argumentsJson: '{ "n": 12345678901234567890 }' }],
        },
        {
          role: 'user',
          blocks: [
            { type: 'tool_result', callId: '1', content: [{ type: 'text', text: 'no such file' }], isError: true },
            { type: 'text', text: 'try again' },
          ],
        },
      ],
    });
    expect(messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: '1', type: 'function', function: { name: 'f', arguments: '{ "n": 12345678901234567890 }' } },
        ],
      },
      { role: 'tool', tool_call_id: '1', content: '[tool error]\nno such file' },
      { role: 'user', content: 'try again' },
    ]);
  });

  test('puts text that came after a tool call before it, since a message has one text', () => {
    const { messages } = write({
      turns: [
        ...conversation.turns,
        {
          role: 'assistant',
          blocks: [
            { type: 'tool_call', id: '1', name: 'f', argumentsJson: '{}' },
            { type: 'text', text: 'done' },
          ],
        },
      ],
    });
    expect(messages[1]).toMatchObject({ content: 'done', tool_calls: [{ id: '1' }] });
  });

  test('sends a long user name as its digest', () => {
    expect(write({ user: 'x'.repeat(64) }).user).toBe('x'.repeat(64));
    expect(write({ user: 'x'.repeat(65) }).user).toMatch(/^[0-9a-f]{64}$/);
  });

  test('names the format of the answer, always the same where the other side has no name', () => {
    const schema = { type: 'object', properties: {} };
    const outputFormat = { name: null, description: null, schema, strict: null };
    expect(write({ outputFormat }).response_format).toEqual({
      type: 'json_schema',
      json_schema: { name: 'output', schema },
    });
    expect(write({ outputFormat: { ...outputFormat, schema: null } }).response_format).toEqual({ type: 'json_object' });
    expect(write({})).not.toHaveProperty('response_format');
  });

  test('asks for an effort, a verbosity and a tier only where the caller did', () => {
    const reasoning = { effort: 'low', budgetTokens: null, show: null } as const;
    expect(write({ reasoning, verbosity: 'high', serviceTier: 'standard' })).toMatchObject({
      reasoning_effort: 'low',
      verbosity: 'high',
      service_tier: 'default',
    });
    expect(Object.keys(write({}))).toEqual(['model', 'messages']);
  });

  test('lists the wish to think that this dialect has no word for', () => {
    const told = (reasoning: Conversation['reasoning']) => {
      const lost = new Losses('refuse');
      writeRequest({ ...conversation, reasoning }, target, lost);
      return lost.names;
    };
    expect(told({ effort: null, budgetTokens: 2048, show: null })).toEqual(['reasoning']);
    expect(told({ effort: 'low', budgetTokens: null, show: false })).toEqual(['reasoning']);
    expect(told({ effort: 'low', budgetTokens: null, show: true })).toEqual([]);
  });
});
