import { describe, expect, test } from 'vitest';
import type { Answer } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { sealFromText, sealToText } from '../seal.ts';
import { aConversation } from '../testing/conversations.ts';
import { refusalOf } from '../testing/refusal.ts';
import { noUsage } from '../usage.ts';
import { parseAnswer, writeAnswer } from './response.ts';

const parse = (change: object, losses = new Losses('refuse', 'answer')) =>
  parseAnswer({ id: 'resp_1', object: 'response', model: 'm', status: 'completed', output: [], ...change }, losses);

const message = (...content: object[]) => ({
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  status: 'completed',
  content,
});
const said = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] });
const call = {
  type: 'function_call',
  id: 'fc_1',
  call_id: 'call_1',
  name: 'f',
  arguments: '{"a":1}',
  status: 'completed',
};

describe('a response', () => {
  test('is read item by item, in its order', () => {
    const reasoning = {
      type: 'reasoning',
      id: 'rs_1',
      summary: [{ type: 'summary_text', text: 'hm' }],
      encrypted_content: 'e',
    };
    const custom = { type: 'custom_tool_call', call_id: 'call_2', name: 'patch', input: 'x' };
    const usage = {
      input_tokens: 9,
      input_tokens_details: { cached_tokens: 4 },
      output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 2 },
    };
    expect(parse({ output: [reasoning, message(said('a'), said('b')), call, custom], usage })).toEqual({
      id: 'resp_1',
      model: 'm',
      blocks: [
        {
          type: 'reasoning',
          text: 'hm',
          seal: { dialect: 'responses', members: { id: 'rs_1', encrypted_content: 'e' } },
        },
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
        { type: 'tool_call', id: 'call_1', name: 'f', argumentsJson: '{"a":1}' },
        { type: 'tool_call', id: 'call_2', name: 'patch', argumentsJson: '{"input":"x"}' },
      ],
      stop: 'tool',
      stopSequence: null,
      usage: { ...noUsage, input: 5, cacheRead: 4, output: 5, reasoning: 2 },
    });
  });

  test.each([
    ['end', { output: [message(said('a'))] }],
    ['tool', { output: [call] }],
    ['refusal', { output: [message({ type: 'refusal', refusal: 'no' })] }],
    ['length', { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }],
    ['refusal', { status: 'incomplete', incomplete_details: { reason: 'content_filter' } }],
  ])('stopped for a reason: %s', (stop, change) => {
    expect(parse(change).stop).toBe(stop);
  });

  test('that failed or did not end is an error, in the words of its provider', () => {
    const failed = { status: 'failed', error: { code: 'rate_limit_exceeded', message: 'Slow down.' } };
    expect(refusalOf(() => parse(failed))).toMatchObject({ code: 'rate_limited', message: 'Slow down.' });
    expect(refusalOf(() => parse({ status: 'queued' }))).toMatchObject({ code: 'upstream_error' });
  });

  test('with an item that nobody asked for is an error, unless the loss is allowed', () => {
    const output = [{ type: 'web_search_call', id: 'ws_1' }];
    expect(refusalOf(() => parse({ output })).code).toBe('upstream_error');
    const losses = new Losses('allow', 'answer');
    expect(parse({ output }, losses).blocks).toEqual([]);
    expect(losses.names).toEqual(['output.web_search_call']);
  });
});

describe('a response that is written', () => {
  const request = aConversation({
    system: [{ type: 'text', text: 'be brief' }],
    tools: [
      { name: 'f', description: null, schema: { type: 'object' }, strict: null },
      { name: 'crm.find', namespace: 'crm', description: null, schema: { type: 'object' }, strict: null },
      { name: 'patch', freeform: true, description: null, schema: { type: 'object' }, strict: null },
    ],
    reasoning: { effort: 'low', budgetTokens: null, show: true },
    maxOutputTokens: 9,
    temperature: 0.5,
    verbosity: 'low',
  });
  const answer: Answer = { id: 'gen_1', model: 'm', blocks: [], stop: 'end', stopSequence: null, usage: null };
  const write = (change: Partial<Answer>) =>
    JSON.parse(writeAnswer({ ...answer, ...change }, { createdS: 7, request })) as Record<string, unknown>;

  test('has every member that the types of the SDK demand, and repeats the request', () => {
    expect(write({})).toMatchObject({
      id: 'gen_1',
      object: 'response',
      created_at: 7,
      status: 'completed',
      error: null,
      incomplete_details: null,
      instructions: 'be brief',
      max_output_tokens: 9,
      metadata: {},
      model: 'm',
      output: [],
      parallel_tool_calls: true,
      reasoning: { effort: 'low', summary: 'auto' },
      store: false,
      temperature: 0.5,
      text: { format: { type: 'text' }, verbosity: 'low' },
      tool_choice: 'auto',
      tools: [
        { type: 'function', name: 'f' },
        { type: 'namespace', name: 'crm' },
        { type: 'custom', name: 'patch' },
      ],
      top_p: null,
      truncation: 'disabled',
      usage: null,
      access_programs: null,
    });
  });

  test('calls each tool in its own way', () => {
    const calls = ['f', 'crm.find', 'patch', 'unknown.tool'].map((name, n) => {
      return { type: 'tool_call', id: `call_${n}`, name, argumentsJson: '{"input":"x"}' } as const;
    });
    expect(write({ blocks: calls, stop: 'tool' })['output']).toEqual([
      {
        id: expect.stringMatching(/^fc_\w+_0$/),
        type: 'function_call',
        status: 'completed',
        call_id: 'call_0',
        name: 'f',
        arguments: '{"input":"x"}',
      },
      {
        id: expect.stringMatching(/^fc_\w+_1$/),
        type: 'function_call',
        status: 'completed',
        call_id: 'call_1',
        name: 'find',
        namespace: 'crm',
        arguments: '{"input":"x"}',
      },
      {
        id: expect.stringMatching(/^ctc_\w+_2$/),
        type: 'custom_tool_call',
        status: 'completed',
        call_id: 'call_2',
        name: 'patch',
        input: 'x',
      },
      {
        id: expect.stringMatching(/^fc_\w+_3$/),
        type: 'function_call',
        status: 'completed',
        call_id: 'call_3',
        name: 'unknown.tool',
        arguments: '{"input":"x"}',
      },
    ]);
  });

  test('keeps encrypted content that looks like a seal of ours: its provider is a gate too', () => {
    const encrypted_content = sealToText({ dialect: 'anthropic', members: { signature: 's' } });
    const { blocks } = parse({ output: [{ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content }] });
    const members = { id: 'rs_1', encrypted_content };
    expect(blocks).toEqual([{ type: 'reasoning', text: '', seal: { dialect: 'responses', members } }]);
  });

  test("carries another provider's seal as encrypted content", () => {
    const seal = { dialect: 'anthropic', members: { signature: 's' } } as const;
    const [item] = write({ blocks: [{ type: 'reasoning', text: 'hm', seal }] })['output'] as Record<string, string>[];
    expect(item).toMatchObject({ type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }] });
    expect(sealFromText(item?.['encrypted_content'] ?? '')).toEqual(seal);
  });

  test.each([
    ['end', 'completed', null],
    ['tool', 'completed', null],
    ['stop_sequence', 'completed', null],
    ['length', 'incomplete', { reason: 'max_output_tokens' }],
    ['refusal', 'incomplete', { reason: 'content_filter' }],
  ] as const)('stopped for a legal reason: %s', (stop, status, details) => {
    expect(write({ stop })).toMatchObject({ status, incomplete_details: details });
  });

  test('tells usage with what came from the cache in it', () => {
    const usage = { input: 1, output: 9, cacheRead: 2, cacheWrite5m: 3, cacheWrite1h: 4, reasoning: 5 };
    expect(write({ usage })['usage']).toEqual({
      input_tokens: 10,
      input_tokens_details: {
        cached_tokens: 2,
        cache_write_tokens: 7,
        cache_write_tokens_details: { ttl_12h_tokens: 4, ttl_30m_tokens: 3 },
      },
      output_tokens: 9,
      output_tokens_details: { reasoning_tokens: 5 },
      total_tokens: 19,
    });
  });
});
