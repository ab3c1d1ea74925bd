import { describe, expect, test } from 'vitest';
import { Losses } from '../losses.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest } from './request.ts';

const base = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] };
const schema = { type: 'object', properties: { a: { type: 'string' } } };

function parse(body: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  return { conversation: parseRequest({ ...base, ...body }, losses), dropped: losses.names };
}

describe('a Messages request', () => {
  test('keeps sampling, limits, stops, tools and the choice among them', () => {
    const { conversation } = parse({
      temperature: 0.5,
      top_p: 0.9,
      stop_sequences: ['END'],
      stream: true,
      metadata: { user_id: 'u' },
      service_tier: 'standard_only',
      tools: [
        {
          type: 'custom',
          name: 'f',
          description: 'does f',
          input_schema: schema,
          strict: true,
          cache_control: { type: 'ephemeral', ttl: '1h' },
        },
      ],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
    });
    expect(conversation).toMatchObject({
      temperature: 0.5,
      topP: 0.9,
      stop: ['END'],
      stream: true,
      user: 'u',
      maxOutputTokens: 10,
      serviceTier: 'standard',
      reasoning: null,
      outputFormat: null,
      tools: [{ name: 'f', description: 'does f', schema, strict: true, cache: { lifetime: 'long' } }],
      toolChoice: { mode: 'required', parallel: false },
    });
  });

  test.each([
    [{ type: 'auto' }, { mode: 'auto', parallel: true }],
    [{ type: 'none' }, { mode: 'none', parallel: true }],
    [{ type: 'any' }, { mode: 'required', parallel: true }],
    [
      { type: 'tool', name: 'f', disable_parallel_tool_use: true },
      { mode: 'tool', name: 'f', parallel: false },
    ],
  ])('with the tool choice %j chooses %j (case 22)', (tool_choice, toolChoice) => {
    expect(parse({ tool_choice }).conversation.toolChoice).toEqual(toolChoice);
  });

  test.each([
    [{ thinking: { type: 'adaptive' } }, { effort: null, budgetTokens: null, show: null }],
    [
      { thinking: { type: 'adaptive', display: 'omitted' }, output_config: { effort: 'high' } },
      { effort: 'high', budgetTokens: null, show: false },
    ],
    [
      { thinking: { type: 'enabled', budget_tokens: 31_999, display: 'summarized' } },
      { effort: null, budgetTokens: 31_999, show: true },
    ],
    [{ output_config: { effort: 'max' } }, { effort: 'max', budgetTokens: null, show: null }],
    [{ thinking: { type: 'disabled' } }, { effort: 'none', budgetTokens: null, show: null }],
    [{ thinking: null, output_config: { effort: null } }, null],
  ])('with %j asks to think so: %j', (body, reasoning) => {
    expect(parse(body)).toMatchObject({ conversation: { reasoning }, dropped: [] });
  });

  test.each([
    [
      { thinking: { type: 'disabled' }, output_config: { effort: 'low' } },
      { effort: 'none', budgetTokens: null, show: null },
      'output_config.effort',
    ],
    [{ thinking: { type: 'between_tools' } }, { effort: null, budgetTokens: null, show: null }, 'thinking.type'],
    [
      { thinking: { type: 'adaptive', display: 'updates' } },
      { effort: null, budgetTokens: null, show: null },
      'thinking.display',
    ],
  ])('with %j thinks nearly so, and says what is lost', (body, reasoning, lost) => {
    expect(parse(body)).toMatchObject({ conversation: { reasoning }, dropped: [lost] });
  });

  test('holds its answer to a schema, by the newer name of the field and the older', () => {
    const format = { type: 'json_schema', schema };
    const outputFormat = { name: null, description: null, schema, strict: true };
    expect(parse({ output_config: { format } }).conversation.outputFormat).toEqual(outputFormat);
    expect(parse({ output_format: format }).conversation.outputFormat).toEqual(outputFormat);
  });

  test.each([
    ['top_k', { top_k: 5 }],
    ['container', { container: 'c_1' }],
    ['mcp_servers', { mcp_servers: [{ type: 'url', url: 'https://x' }] }],
    ['speed', { speed: 'fast' }],
    ['inference_geo', { inference_geo: 'us' }],
    ['fallbacks', { fallbacks: [{ model: 'x' }] }],
    ['compaction', { compaction: { type: 'auto' } }],
    ['thread', { thread: { id: 't' } }],
    ['a_field_of_tomorrow', { a_field_of_tomorrow: 1 }],
    ['metadata.trace', { metadata: { user_id: 'u', trace: 'x' } }],
    ['output_config.tone', { output_config: { tone: 'kind' } }],
    ['thinking.tomorrow', { thinking: { type: 'adaptive', tomorrow: 1 } }],
    ['context_management.edits[0]', { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } }],
    ['tools[0]', { tools: [{ type: 'bash_20250124', name: 'bash' }] }],
    [
      'tools[0].allowed_callers',
      { tools: [{ name: 'f', input_schema: schema, allowed_callers: ['code_execution_20260120'] }] },
    ],
  ])('is refused by name for %s, and with leave sent without it', (path, body) => {
    const refusal = refusalOf(() => parse(body));
    expect(refusal.code).toBe('invalid_argument');
    expect(refusal.members.param).toBe(path);
    expect(refusal.message).toContain(`"${path}"`);
    expect(parse(body, 'allow').dropped).toEqual([path.replaceAll(/\[\d+\]/g, '')]);
  });

  test('may hold what the other side does anyway', () => {
    const { dropped } = parse({
      service_tier: 'auto',
      speed: 'standard',
      inference_geo: 'global',
      container: null,
      context_management: { edits: [] },
      tools: [
        {
          name: 'f',
          input_schema: schema,
          defer_loading: false,
          eager_input_streaming: false,
          allowed_callers: ['direct'],
        },
      ],
    });
    expect(dropped).toEqual([]);
  });

  test('marked as a whole has its mark on the last block, unless that has one or can have none', () => {
    const marked = (last: object, role = 'user') => {
      const messages = [...base.messages, { role, content: [{ type: 'text', text: 'a' }, last] }];
      const { conversation, dropped } = parse({ cache_control: { type: 'ephemeral', ttl: '1h' }, messages });
      const blocks = conversation.turns.at(-1)?.blocks ?? [];
      return [...blocks.slice(-2).map((block) => 'cache' in block && block.cache?.lifetime), ...dropped];
    };
    expect(marked({ type: 'text', text: 'b' })).toEqual([false, 'long']);
    expect(marked({ type: 'text', text: 'b', cache_control: { type: 'ephemeral' } })).toEqual([false, 'usual']);
    const thinking = { type: 'thinking', thinking: 't', signature: 's' };
    expect(marked(thinking, 'assistant')).toEqual([false, false, 'cache_control']);
  });

  test('loses what changes no answer on every route, and says so', () => {
    const { dropped } = parse({
      diagnostics: { previous_message_id: 'msg_1' },
      betas: ['x-2026-01-01'],
      output_config: { task_budget: { type: 'tokens', total: 9 } },
      context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
      tools: [
        {
          name: 'f',
          input_schema: schema,
          defer_loading: true,
          eager_input_streaming: true,
          input_examples: [{ a: 'x' }],
        },
      ],
    });
    expect(dropped.toSorted()).toEqual([
      'betas',
      'context_management.edits',
      'diagnostics',
      'output_config.task_budget',
      'tools.defer_loading',
      'tools.eager_input_streaming',
      'tools.input_examples',
    ]);
  });

  test.each([
    ['max_tokens', { max_tokens: 0 }],
    ['max_tokens', { max_tokens: null }],
    ['max_tokens', { max_tokens: '5' }],
    ['model', { model: '' }],
    ['stream', { stream: 'yes' }],
    ['stop_sequences[1]', { stop_sequences: ['a', 1] }],
    ['stop_sequences', { stop_sequences: Array(17).fill('a') }],
    ['tool_choice.type', { tool_choice: { type: 'sometimes' } }],
    ['tools[0].input_schema', { tools: [{ name: 'f' }] }],
    ['service_tier', { service_tier: 'gold' }],
    ['thinking.type', { thinking: { type: 'deep' } }],
    ['thinking.budget_tokens', { thinking: { type: 'enabled' } }],
    ['output_config.effort', { output_config: { effort: 'none' } }],
    ['output_config.format.type', { output_config: { format: { type: 'json_object' } } }],
    ['output_config.format.schema', { output_config: { format: { type: 'json_schema' } } }],
    [
      'tools[0].cache_control.ttl',
      { tools: [{ name: 'f', input_schema: schema, cache_control: { type: 'ephemeral', ttl: '1d' } }] },
    ],
  ])('is refused for a malformed %s, lossy or not', (path, body) => {
    expect(refusalOf(() => parse(body, 'allow')).members.param).toBe(path);
  });

  test('that is no object at all is refused', () => {
    expect(refusalOf(() => parseRequest([], new Losses('allow'))).code).toBe('invalid_argument');
  });
});
