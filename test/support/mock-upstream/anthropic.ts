import type { Answer, Asked, Chunk, Spoken, Tokens } from './answer.ts';
import { createdAtS, list, type MockDialect, type Refusal } from './dialect.ts';
import type { Stop } from './script.ts';

/** Anthropic Messages. Source: docs.claude.com/en/api/messages, /messages-streaming and /errors. */
export const anthropic: MockDialect = {
  read,
  whole: (answer) =>
    JSON.stringify({ ...envelope(answer), content: answer.spoken.map(contentBlock), ...ending(answer) }),
  events,
  error: (status, message, requestId) =>
    JSON.stringify({
      type: 'error',
      error: { type: errorTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error'), message },
      request_id: requestId,
    }),
  headers: (requestId) => ({
    'request-id': requestId,
    'anthropic-organization-id': '00000000-0000-4000-8000-000000000000',
    'anthropic-ratelimit-requests-limit': '4000',
    'anthropic-ratelimit-requests-remaining': '3999',
  }),
  models: (names) =>
    JSON.stringify({
      data: names.map((id) => ({
        type: 'model',
        id,
        display_name: id,
        created_at: new Date(createdAtS * 1000).toISOString(),
      })),
      has_more: false,
      first_id: names[0] ?? null,
      last_id: names.at(-1) ?? null,
    }),
};

const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  500: 'api_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

const stopReasons: Record<Stop, string> = {
  end: 'end_turn',
  tool: 'tool_use',
  length: 'max_tokens',
  stop_sequence: 'stop_sequence',
  refusal: 'refusal',
};

function read(body: Record<string, unknown>): Asked | Refusal {
  if (typeof body['model'] !== 'string') return { status: 400, message: 'model: Field required' };
  if (!Array.isArray(body['messages'])) return { status: 400, message: 'messages: Field required' };
  const maxTokens = body['max_tokens'];
  if (typeof maxTokens !== 'number') return { status: 400, message: 'max_tokens: Field required' };
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    return { status: 400, message: 'max_tokens: Input should be greater than or equal to 1' };
  }
  return {
    model: body['model'],
    stream: body['stream'] === true,
    streamUsage: true,
    maxTokens,
    choices: 1,
    tools: list(body['tools'])
      .filter((tool) => tool['input_schema'] !== undefined)
      .map((tool) => ({ name: String(tool['name']), schema: tool['input_schema'] })),
    endsWithToolResult: list(list(body['messages']).at(-1)?.['content']).some((each) => each['type'] === 'tool_result'),
  };
}

function envelope(answer: Answer) {
  return { id: `msg_${answer.id}`, type: 'message', role: 'assistant', model: answer.model };
}

function ending(answer: Answer) {
  return {
    stop_reason: stopReasons[answer.stop],
    stop_sequence: answer.stop === 'stop_sequence' ? answer.stopSequence : null,
    usage: usage(answer.tokens, answer.tokens.output),
  };
}

function usage(tokens: Tokens, output: number) {
  return {
    input_tokens: tokens.input,
    cache_creation_input_tokens: tokens.cacheWrite5m + tokens.cacheWrite1h,
    cache_read_input_tokens: tokens.cacheRead,
    cache_creation: {
      ephemeral_5m_input_tokens: tokens.cacheWrite5m,
      ephemeral_1h_input_tokens: tokens.cacheWrite1h,
    },
    output_tokens: output,
    service_tier: 'standard',
  };
}

function contentBlock({ block, id }: Spoken): Record<string, unknown> {
  if (block.type === 'text') return { type: 'text', text: block.text };
  if (block.type === 'thinking') {
    return { type: 'thinking', thinking: block.thinking, signature: block.signature ?? '' };
  }
  return { type: 'tool_use', id: `toolu_${id}`, name: block.name, input: block.input };
}

const opened = { text: { text: '' }, thinking: { thinking: '', signature: '' }, tool_call: { input: {} } };

const deltas = {
  text: (text: string) => ({ type: 'text_delta', text }),
  thinking: (thinking: string) => ({ type: 'thinking_delta', thinking }),
  tool_call: (fragment: string) => ({ type: 'input_json_delta', partial_json: fragment }),
};

function event(data: { type: string; [member: string]: unknown }, tokens = 0): Chunk {
  return { text: `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`, tokens };
}

function events(answer: Answer): Chunk[] {
  const start = { content: [], stop_reason: null, stop_sequence: null, usage: usage(answer.tokens, 1) };
  const { usage: finalUsage, ...stop } = ending(answer);
  return [
    event({ type: 'message_start', message: { ...envelope(answer), ...start } }),
    event({ type: 'ping' }),
    ...answer.spoken.flatMap((spoken, index) => blockEvents(spoken, index)),
    event({ type: 'message_delta', delta: stop, usage: finalUsage }),
    event({ type: 'message_stop' }),
  ];
}

function blockEvents(spoken: Spoken, index: number): Chunk[] {
  const { block, pieces } = spoken;
  const chunks = [
    event({
      type: 'content_block_start',
      index,
      content_block: { ...contentBlock(spoken), ...opened[block.type] },
    }),
    ...pieces.map((piece) => event({ type: 'content_block_delta', index, delta: deltas[block.type](piece) }, 1)),
  ];
  if (block.type === 'thinking' && block.signature !== undefined) {
    const signature = { type: 'signature_delta', signature: block.signature };
    chunks.push(event({ type: 'content_block_delta', index, delta: signature }));
  }
  return [...chunks, event({ type: 'content_block_stop', index })];
}
