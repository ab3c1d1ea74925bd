import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { Conversation, Target } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { aConversation } from '../testing/conversations.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const parse = (change: object, losses = new Losses('refuse')) =>
  parseRequest({ model: 'm', input: 'hi', ...change }, losses);

const target: Target = { model: 'the-model', capabilities: fullCapabilities, lossy: 'refuse' };

function write(change: Partial<Conversation>, losses = new Losses('refuse'), to: Partial<Target> = {}) {
  return JSON.parse(writeRequest(aConversation(change), { ...target, ...to }, losses)) as Record<string, unknown>;
}

function droppedFrom(change: object): string[] {
  const losses = new Losses('refuse');
  parse(change, losses);
  return losses.names;
}

describe('a request for a response', () => {
  test('means what its fields say', () => {
    expect(
      parse({
        instructions: 'be brief',
        max_output_tokens: 77,
        temperature: 0.5,
        top_p: 0.9,
        stream: true,
        service_tier: 'default',
        safety_identifier: 'u1',
        parallel_tool_calls: false,
        reasoning: { effort: 'high', summary: 'auto' },
        text: {
          verbosity: 'low',
          format: { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true },
        },
      }),
    ).toEqual({
      model: 'm',
      system: [{ type: 'text', text: 'be brief' }],
      turns: [{ role: 'user', blocks: [{ type: 'text', text: 'hi' }] }],
      tools: [],
      toolChoice: { mode: 'auto', parallel: false },
      temperature: 0.5,
      topP: 0.9,
      stop: [],
      maxOutputTokens: 77,
      reasoning: { effort: 'high', budgetTokens: null, show: true },
      outputFormat: { name: 'n', description: null, schema: { type: 'object' }, strict: true },
      verbosity: 'low',
      serviceTier: 'standard',
      stream: true,
      streamUsage: true,
      user: 'u1',
    });
  });

  test.each([
    ['store', { store: false }],
    ['background', { background: false }],
    ['truncation', { truncation: 'disabled' }],
    ['include', { include: ['reasoning.encrypted_content'] }],
    ['text.format', { text: { format: { type: 'text' } } }],
    ['reasoning.mode', { reasoning: { mode: 'standard' } }],
    ['null fields', { previous_response_id: null, conversation: null, prompt: null, reasoning: null, text: null }],
  ])('may say what is so anyway: %s', (_name, change) => {
    expect(droppedFrom(change)).toEqual([]);
    expect(parse(change)).toEqual(parse({}));
  });

  test.each([
    ['metadata', { metadata: { a: 'b' } }],
    ['client_metadata', { client_metadata: { a: 'b' } }],
    ['prompt_cache_key', { prompt_cache_key: 'k' }],
    ['prompt_cache_options.ttl', { prompt_cache_options: { ttl: '12h' } }],
    ['prompt_cache_retention', { prompt_cache_retention: '24h' }],
    ['truncation', { truncation: 'auto' }],
    ['max_tool_calls', { max_tool_calls: 3 }],
    ['stream_options', { stream_options: { include_obfuscation: false } }],
    ['reasoning.summary', { reasoning: { summary: 'detailed' } }],
    ['reasoning.generate_summary', { reasoning: { generate_summary: 'concise' } }],
    ['reasoning.context', { reasoning: { context: 'all_turns' } }],
    ['tools.web_search', { tools: [{ type: 'web_search', external_web_access: false }] }],
  ])('loses a mere hint and says so: %s', (name, change) => {
    expect(droppedFrom(change)).toEqual([name]);
  });

  test.each([
    ['top_logprobs', { top_logprobs: 3 }],
    ['moderation', { moderation: { model: 'm' } }],
    ['context_management', { context_management: [{ type: 'compaction' }] }],
    ['access_programs', { access_programs: { cyber: 'standard' } }],
    ['include[0]', { include: ['message.output_text.logprobs'] }],
    ['service_tier', { service_tier: 'priority' }],
    ['reasoning.mode', { reasoning: { mode: 'pro' } }],
    ['prompt_cache_options.prewarm', { prompt_cache_options: { prewarm: true } }],
    ['tool_choice', { tool_choice: { type: 'file_search' } }],
    ['tools[0].type', { tools: [{ type: 'local_shell' }] }],
    ['input[0]', { input: [{ type: 'compaction', encrypted_content: 'x' }] }],
    ['text.format.schema', { text: { format: { type: 'json_object', schema: { type: 'object' } } } }],
    ['text.format.name', { text: { format: { type: 'text', name: 'n' } } }],
    ['future', { future: 1 }],
  ])('is refused by the name of what has no counterpart, or loses it where that is allowed: %s', (param, change) => {
    expect(refusalOf(() => parse(change))).toMatchObject({ code: 'invalid_argument', members: { param } });
    const losses = new Losses('allow');
    parse(change, losses);
    expect(losses.names).toEqual([param.replaceAll(/\[\d+\]/g, '')]);
  });

  test.each([
    ['input', { input: [] }],
    ['input', { input: 7 }],
    ['input[0].role', { input: [{ role: 'robot', content: 'x' }] }],
    ['max_output_tokens', { max_output_tokens: 0 }],
    ['reasoning.effort', { reasoning: { effort: 'huge' } }],
    ['reasoning.summary', { reasoning: { summary: 'endless' } }],
    ['reasoning.generate_summary', { reasoning: { summary: 'auto', generate_summary: 'detailed' } }],
    ['user', { user: 'a', safety_identifier: 'b' }],
    [
      'input[0].content[0].file_url',
      {
        input: [
          {
            role: 'user',
            content: [{ type: 'input_file', file_data: 'data:text/plain;base64,eA==', file_url: 'https://x.test' }],
          },
        ],
      },
    ],
    ['text.verbosity', { text: { verbosity: 'loud' } }],
    ['text.format.type', { text: { format: { type: 'xml' } } }],
    ['tools[0].parameters', { tools: [{ type: 'function', name: 'f', parameters: { type: 'string' } }] }],
    [
      'input[0].content[0].image_url',
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'x' }] }] },
    ],
  ])('is refused where it is malformed: %s', (param, change) => {
    expect(refusalOf(() => parse(change)).members.param).toBe(param);
  });

  test('of Codex is understood as a whole', () => {
    const file = new URL('../testing/codex-request.json', import.meta.url);
    const losses = new Losses('refuse');
    const conversation = parseRequest(JSON.parse(readFileSync(file, 'utf8')), losses);
    expect(losses.names).toEqual(['tools.description', 'tools.web_search', 'client_metadata', 'prompt_cache_key']);
    expect(conversation.tools.map(({ name, namespace }) => [name, namespace])).toEqual([
      ['exec_command', undefined],
      ['view_image', undefined],
      ['multi_agent_v1.close_agent', 'multi_agent_v1'],
      ['multi_agent_v1.resume_agent', 'multi_agent_v1'],
      ['get_goal', undefined],
    ]);
    expect(conversation.turns.slice(1, 3)).toEqual([
      {
        role: 'assistant',
        blocks: [
          {
            type: 'reasoning',
            text: 'hm',
            seal: { dialect: 'responses', members: { id: 'rs_1', encrypted_content: 'ZW5j' } },
          },
          expect.objectContaining({ type: 'tool_call', id: 'call_1', name: 'view_image' }),
        ],
      },
      {
        role: 'user',
        blocks: [
          expect.objectContaining({
            callId: 'call_1',
            content: [expect.objectContaining({ type: 'image', detail: 'high' })],
          }),
        ],
      },
    ]);
    expect(conversation.turns.at(-2)?.blocks.at(-1)).toMatchObject({ name: 'multi_agent_v1.close_agent' });
  });
});

describe('a request that is written', () => {
  test('asks that nothing be stored, and for reasoning that can come back', () => {
    expect(write({})).toEqual({
      model: 'the-model',
      input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }],
      include: ['reasoning.encrypted_content'],
      max_output_tokens: 1000,
      store: false,
    });
    expect(
      write({}, new Losses('refuse'), { capabilities: { ...fullCapabilities, reasoning: 'none' } }),
    ).not.toHaveProperty('include');
  });

  test('says everything that the dialect can say', () => {
    expect(
      write({
        reasoning: { effort: 'low', budgetTokens: null, show: true },
        verbosity: 'high',
        outputFormat: { name: null, description: 'd', schema: { type: 'object' }, strict: null },
        serviceTier: 'standard',
        temperature: 0,
        topP: 1,
        user: 'u'.repeat(65),
        stream: true,
        maxOutputTokens: null,
      }),
    ).toMatchObject({
      reasoning: { effort: 'low', summary: 'auto' },
      text: {
        verbosity: 'high',
        format: { type: 'json_schema', name: 'output', description: 'd', schema: { type: 'object' } },
      },
      service_tier: 'default',
      temperature: 0,
      top_p: 1,
      safety_identifier: expect.stringMatching(/^[0-9a-f]{64}$/),
      stream: true,
    });
    expect(write({ outputFormat: { name: null, description: null, schema: null, strict: null } })).toMatchObject({
      text: { format: { type: 'json_object' } },
    });
  });

  test('keeps the caller to what the model gives', () => {
    const capabilities = { ...fullCapabilities, maxOutputTokens: 10 };
    expect(write({}, new Losses('refuse'), { capabilities })).toMatchObject({ max_output_tokens: 10 });
  });

  test('is refused by its stop sequences, or loses them where that is allowed: there are none here', () => {
    expect(refusalOf(() => write({ stop: ['END'] })).members.param).toBe('stop');
    const losses = new Losses('allow');
    expect(write({ stop: ['END'] }, losses)).not.toHaveProperty('stop');
    expect(losses.names).toEqual(['stop']);
  });
});
