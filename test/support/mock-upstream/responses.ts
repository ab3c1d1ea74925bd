import type { Answer, Asked, Chunk, Spoken, Tokens } from './answer.ts';
import { chat } from './chat.ts';
import { createdAtS, list, type MockDialect, type Refusal } from './dialect.ts';

/** OpenAI Responses. Source: platform.openai.com/docs/api-reference/responses and /responses-streaming. */
export const responses: MockDialect = {
  ...chat,
  read,
  whole: (answer) => JSON.stringify(ended(answer)),
  events,
};

function read(body: Record<string, unknown>): Asked | Refusal {
  if (typeof body['model'] !== 'string') return { status: 400, message: 'you must provide a model parameter' };
  const { input } = body;
  if (typeof input !== 'string' && list(input).length === 0) {
    return { status: 400, message: "Missing required parameter: 'input'." };
  }
  // The vendor's default is to store; nothing that the gate sends may ask for it.
  if (body['store'] !== false) return { status: 400, message: 'The mock stores nothing: "store" must be false.' };
  const maxTokens = body['max_output_tokens'] ?? Infinity;
  if (typeof maxTokens !== 'number' || maxTokens < 1) return { status: 400, message: "Invalid 'max_output_tokens'." };
  return {
    model: body['model'],
    stream: body['stream'] === true,
    streamUsage: true,
    maxTokens,
    choices: 1,
    tools: list(body['tools'])
      .filter((tool) => tool['type'] === 'function')
      .map((tool) => ({ name: String(tool['name']), schema: tool['parameters'] })),
    endsWithToolResult: list(input).at(-1)?.['type'] === 'function_call_output',
  };
}

function ended(answer: Answer) {
  const incomplete = { length: 'max_output_tokens', refusal: 'content_filter' } as const;
  const reason = answer.stop === 'length' || answer.stop === 'refusal' ? incomplete[answer.stop] : null;
  return {
    ...envelope(answer, reason === null ? 'completed' : 'incomplete'),
    incomplete_details: reason === null ? null : { reason },
    output: answer.spoken.map((spoken, index) => item(spoken, index, true)),
    usage: usage(answer.tokens),
  };
}

function envelope(answer: Answer, status: string) {
  return {
    id: `resp_${answer.id}`,
    object: 'response',
    created_at: createdAtS,
    status,
    access_programs: null,
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    metadata: {},
    model: answer.model,
    output: [] as unknown[],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: 'default',
    store: false,
    temperature: 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    truncation: 'disabled',
    usage: null as unknown,
    user: null,
  };
}

function usage(tokens: Tokens) {
  const written = tokens.cacheWrite5m + tokens.cacheWrite1h;
  const input = tokens.input + tokens.cacheRead + written;
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: tokens.cacheRead, cache_write_tokens: written },
    output_tokens: tokens.output,
    output_tokens_details: { reasoning_tokens: tokens.reasoning },
    total_tokens: input + tokens.output,
  };
}

/** An item as it is added, or as it is done. */
function item({ block, id }: Spoken, index: number, done: boolean): Record<string, unknown> {
  const status = done ? 'completed' : 'in_progress';
  if (block.type === 'text') {
    const content = done ? [textPart(block.text)] : [];
    return { id: `msg_${index}`, type: 'message', status, role: 'assistant', content };
  }
  if (block.type === 'thinking') {
    const summary = done ? [{ type: 'summary_text', text: block.thinking }] : [];
    const encrypted = done && block.signature !== undefined ? { encrypted_content: block.signature } : {};
    return { id: `rs_${index}`, type: 'reasoning', summary, ...encrypted };
  }
  return {
    id: `fc_${index}`,
    type: 'function_call',
    status,
    call_id: `call_${id}`,
    name: block.name,
    arguments: done ? JSON.stringify(block.input) : '',
  };
}

function textPart(text: string) {
  return { type: 'output_text', text, annotations: [], logprobs: [] };
}

function events(answer: Answer): Chunk[] {
  let sequence = 0;
  const event = (type: string, rest: object, tokens = 0): Chunk => ({
    text: `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...rest })}\n\n`,
    tokens,
  });
  const begun = envelope(answer, 'in_progress');
  const response = ended(answer);
  return [
    event('response.created', { response: begun }),
    event('response.in_progress', { response: begun }),
    ...answer.spoken.flatMap((spoken, index) => itemEvents(spoken, index, event)),
    event(`response.${response.status}`, { response }),
  ];
}

function itemEvents(
  spoken: Spoken,
  index: number,
  event: (type: string, rest: object, tokens?: number) => Chunk,
): Chunk[] {
  const done = item(spoken, index, true);
  const of = { item_id: done['id'], output_index: index };
  const { block, pieces } = spoken;
  const around = (middle: Chunk[]): Chunk[] => [
    added,
    ...middle,
    event('response.output_item.done', { output_index: index, item: done }),
  ];
  const added = event('response.output_item.added', { output_index: index, item: item(spoken, index, false) });
  if (block.type === 'text') {
    const at = { ...of, content_index: 0 };
    return around([
      event('response.content_part.added', { ...at, part: textPart('') }),
      ...pieces.map((delta) => event('response.output_text.delta', { ...at, delta, logprobs: [] }, 1)),
      event('response.output_text.done', { ...at, text: block.text, logprobs: [] }),
      event('response.content_part.done', { ...at, part: textPart(block.text) }),
    ]);
  }
  if (block.type === 'thinking') {
    const at = { ...of, summary_index: 0 };
    const part = (text: string) => ({ ...at, part: { type: 'summary_text', text } });
    return around([
      event('response.reasoning_summary_part.added', part('')),
      ...pieces.map((delta) => event('response.reasoning_summary_text.delta', { ...at, delta }, 1)),
      event('response.reasoning_summary_text.done', { ...at, text: block.thinking }),
      event('response.reasoning_summary_part.done', part(block.thinking)),
    ]);
  }
  return around([
    ...pieces.map((delta) => event('response.function_call_arguments.delta', { ...of, delta }, 1)),
    event('response.function_call_arguments.done', { ...of, arguments: pieces.join('') }),
  ]);
}
