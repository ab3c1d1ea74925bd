/** A model API's wire format, as the client speaks it. */
export type Dialect = 'anthropic' | 'chat';

interface Request {
  readonly dialect: Dialect;
  readonly path: string;
  readonly body: string;
}

export interface Workload {
  readonly name: (typeof workloadNames)[number];
  /** What the numbers of this workload say. */
  readonly about: string;
  readonly request: Request;
  /** Closed loop: that many connections, each with one request under way. */
  readonly concurrency?: number;
  /** Or that many streams side by side, each to its end, of that many tokens. */
  readonly streams?: { readonly count: number; readonly rampMs: number; readonly tokens: number };
  /** Only these targets; absent is all of them. */
  readonly targets?: readonly string[];
}

export const workloadNames = ['small', 'large', 'sequential', 'passthrough', 'translated', 'streams'] as const;

const concurrency = 32;
const gates = ['gate', 'gate-relaxed'];
const tokensPerSecond = 50;

/** The first one gives a target its main figures. */
export function workloads({ durationS, smoke }: { durationS: number; smoke: boolean }): readonly Workload[] {
  const streams = { count: smoke ? 32 : 512, rampMs: smoke ? 200 : 2_000, tokens: durationS * 2 * tokensPerSecond };
  return [
    { name: 'small', about: '1 KB, 32 at a time', request: chat('bench-chat', 1_024), concurrency },
    { name: 'large', about: '100 KB as Claude Code sends, 32 at a time', request: agentTurn(102_400), concurrency },
    { name: 'sequential', about: '1 KB, one at a time', request: chat('bench-chat', 1_024), concurrency: 1 },
    {
      name: 'passthrough',
      about: '1 KB, Anthropic to Anthropic',
      request: message('bench-anthropic', 1_024),
      concurrency,
      targets: gates,
    },
    {
      name: 'translated',
      about: '1 KB, Anthropic to Chat Completions',
      request: message('bench-translated', 1_024),
      concurrency,
      targets: gates,
    },
    {
      name: 'streams',
      about: `${streams.count} streams side by side, ${tokensPerSecond} tokens a second each`,
      request: chat('bench-chat', 1_024, streams.tokens),
      streams,
      // LiteLLM on one core would be at it for many minutes.
      targets: ['direct', 'bare-proxy', 'portkey', ...gates],
    },
  ];
}

const system = 'You are a careful assistant. Answer in plain words.';

function chat(model: string, bytes: number, streamTokens?: number): Request {
  const write = (filler: string) =>
    JSON.stringify({
      model,
      stream: streamTokens !== undefined,
      max_tokens: streamTokens ?? 60,
      messages: [
        { role: 'system', content: system },
        { role: 'user', content: filler },
      ],
    });
  return { dialect: 'chat', path: '/v1/chat/completions', body: padded(bytes, write) };
}

function message(model: string, bytes: number): Request {
  const write = (filler: string) =>
    JSON.stringify({ model, max_tokens: 60, system, messages: [{ role: 'user', content: filler }] });
  return { dialect: 'anthropic', path: '/v1/messages', body: padded(bytes, write) };
}

/** A coding agent's call: a long system prompt and 20 tools, both marked for the prompt cache, and ten turns with tools. */
function agentTurn(bytes: number): Request {
  const cache_control = { type: 'ephemeral' };
  const tools = Array.from({ length: 20 }, (_, index) => ({
    name: `tool_${index}`,
    description: prose(1_200),
    input_schema: {
      type: 'object',
      properties: Object.fromEntries(
        ['path', 'pattern', 'limit', 'options'].map((name) => [name, { type: 'string', description: prose(120) }]),
      ),
      required: ['path'],
      additionalProperties: false,
    },
    ...(index === 19 && { cache_control }),
  }));
  const turns = Array.from({ length: 10 }, (_, index) => [
    {
      role: 'assistant',
      content: [
        { type: 'text', text: prose(200) },
        { type: 'tool_use', id: `toolu_${index}`, name: 'tool_1', input: { path: `/src/file-${index}.ts` } },
      ],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: `toolu_${index}`, content: prose(2_000) }] },
  ]);
  const write = (filler: string) =>
    JSON.stringify({
      model: 'bench-anthropic',
      max_tokens: 60,
      system: [{ type: 'text', text: filler, cache_control }],
      tools,
      messages: [{ role: 'user', content: prose(1_000) }, ...turns.flat()],
      metadata: { user_id: 'bench' },
    });
  return { dialect: 'anthropic', path: '/v1/messages', body: padded(bytes, write) };
}

/** Fills a body up to exactly so many bytes. */
function padded(bytes: number, write: (filler: string) => string): string {
  return write('x'.repeat(bytes - Buffer.byteLength(write(''))));
}

/** Text with the escapes that code has, since they are what makes JSON slow to read. */
function prose(chars: number): string {
  const sentence = 'Read the file first;\n\tthen change "only" what was asked: a\\b, C:\\temp, {"k": [1, 2]}.\n';
  return sentence.repeat(Math.ceil(chars / sentence.length)).slice(0, chars);
}
