import type { Answer, Asked, Chunk, Tokens } from './answer.ts';
import { createdAtS, list, type MockDialect, type Refusal } from './dialect.ts';
import type { Stop } from './script.ts';

/** OpenAI Chat Completions. Source: platform.openai.com/docs/api-reference/chat and /chat-streaming. */
export const chat: MockDialect = {
  read,
  whole: (answer) =>
    JSON.stringify({
      ...envelope(answer, 'chat.completion'),
      choices: indexes(answer).map((index) => ({
        index,
        message: message(answer),
        logprobs: null,
        finish_reason: finishReasons[answer.stop],
      })),
      usage: usage(answer.tokens),
    }),
  events,
  error: (status, text) => {
    const { type, code } = errorKinds[status] ?? {
      type: status < 500 ? 'invalid_request_error' : 'server_error',
      code: null,
    };
    return JSON.stringify({ error: { message: text, type, param: null, code } });
  },
  headers: (requestId) => ({
    'x-request-id': requestId,
    'openai-version': '2020-10-01',
    'openai-processing-ms': '1',
    'x-ratelimit-limit-requests': '10000',
    'x-ratelimit-remaining-requests': '9999',
  }),
  models: (names) =>
    JSON.stringify({
      object: 'list',
      data: names.map((id) => ({ id, object: 'model', created: createdAtS, owned_by: 'mock' })),
    }),
};

const errorKinds: Record<number, { type: string; code: string | null }> = {
  401: { type: 'invalid_request_error', code: 'invalid_api_key' },
  404: { type: 'invalid_request_error', code: 'model_not_found' },
  429: { type: 'requests', code: 'rate_limit_exceeded' },
};

const finishReasons: Record<Stop, string> = {
  end: 'stop',
  tool: 'tool_calls',
  length: 'length',
  stop_sequence: 'stop',
  refusal: 'content_filter',
};

const choicesMax = 128;

function read(body: Record<string, unknown>): Asked | Refusal {
  if (typeof body['model'] !== 'string') return { status: 400, message: 'you must provide a model parameter' };
  const messages = list(body['messages']);
  if (messages.length === 0) return { status: 400, message: "Missing required parameter: 'messages'." };
  const maxTokens = body['max_completion_tokens'] ?? body['max_tokens'] ?? Infinity;
  const choices = body['n'] ?? 1;
  if (typeof maxTokens !== 'number' || maxTokens < 1) return { status: 400, message: "Invalid 'max_tokens'." };
  if (typeof choices !== 'number' || !Number.isInteger(choices) || choices < 1 || choices > choicesMax) {
    return { status: 400, message: "Invalid 'n'." };
  }
  return {
    model: body['model'],
    stream: body['stream'] === true,
    streamUsage: (body['stream_options'] as { include_usage?: unknown } | undefined)?.include_usage === true,
    maxTokens,
    choices,
    tools: list(body['tools']).map((tool) => {
      const { name, parameters } = tool['function'] as { name: string; parameters?: unknown };
      return { name, schema: parameters };
    }),
    endsWithToolResult: messages.at(-1)?.['role'] === 'tool',
  };
}

function envelope(answer: Answer, object: string) {
  return {
    id: `chatcmpl-${answer.id}`,
    object,
    created: createdAtS,
    model: answer.model,
    service_tier: 'default',
    system_fingerprint: null,
  };
}

/** Every choice says the same; the answer's output tokens already count each of them. */
function indexes(answer: Answer): number[] {
  return [...Array(answer.choices).keys()];
}

function message(answer: Answer) {
  const texts = answer.spoken.flatMap(({ block }) => (block.type === 'text' ? [block.text] : []));
  const thoughts = answer.spoken.flatMap(({ block }) => (block.type === 'thinking' ? [block.thinking] : []));
  const calls = answer.spoken.flatMap(({ block, id }) =>
    block.type === 'tool_call'
      ? [{ id: `call_${id}`, type: 'function', function: { name: block.name, arguments: JSON.stringify(block.input) } }]
      : [],
  );
  return {
    role: 'assistant',
    content: texts.length > 0 ? texts.join('') : null,
    refusal: null,
    ...(thoughts.length > 0 && { reasoning_content: thoughts.join('') }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

function usage(tokens: Tokens) {
  const prompt = tokens.input + tokens.cacheRead + tokens.cacheWrite5m + tokens.cacheWrite1h;
  return {
    prompt_tokens: prompt,
    completion_tokens: tokens.output,
    total_tokens: prompt + tokens.output,
    prompt_tokens_details: { cached_tokens: tokens.cacheRead, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: tokens.reasoning, audio_tokens: 0 },
  };
}

function events(answer: Answer, asked: Asked): Chunk[] {
  const chunk = (rest: object, tokens = 0): Chunk => ({
    text: `data: ${JSON.stringify({ ...envelope(answer, 'chat.completion.chunk'), ...rest })}\n\n`,
    tokens,
  });
  const pending = asked.streamUsage ? { usage: null } : {};
  const choice = (index: number, delta: object, finish: string | null, tokens: number) =>
    chunk({ choices: [{ index, delta, logprobs: null, finish_reason: finish }], ...pending }, tokens);
  const chunks = indexes(answer).flatMap((index) => [
    choice(index, { role: 'assistant', content: '', refusal: null }, null, 0),
    ...deltas(answer).map(({ delta, tokens }) => choice(index, delta, null, tokens)),
    choice(index, {}, finishReasons[answer.stop], 0),
  ]);
  if (asked.streamUsage) chunks.push(chunk({ choices: [], usage: usage(answer.tokens) }));
  return [...chunks, { text: 'data: [DONE]\n\n', tokens: 0 }];
}

function deltas(answer: Answer): { delta: object; tokens: number }[] {
  let toolIndex = -1;
  return answer.spoken.flatMap<{ delta: object; tokens: number }>(({ block, id, pieces }) => {
    if (block.type === 'text') return pieces.map((piece) => ({ delta: { content: piece }, tokens: 1 }));
    if (block.type === 'thinking') return pieces.map((piece) => ({ delta: { reasoning_content: piece }, tokens: 1 }));
    const index = ++toolIndex;
    const head = { index, id: `call_${id}`, type: 'function', function: { name: block.name, arguments: '' } };
    return [
      { delta: { tool_calls: [head] }, tokens: 0 },
      ...pieces.map((piece) => ({ delta: { tool_calls: [{ index, function: { arguments: piece } }] }, tokens: 1 })),
    ];
  });
}
