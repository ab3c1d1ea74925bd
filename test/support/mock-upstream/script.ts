import { z } from 'zod';

/**
 * What a test can make the mock provider do. A script is sent to `/__mock/scripts`, or spelled in the model name
 * (`mock-tokens-200-rate-50-cut-3`), which passes any gateway without a side channel.
 */

const count = z.int().min(0);

const block = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: z.string() }),
  z.strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string().optional() }),
  z.strictObject({
    type: z.literal('tool_call'),
    id: z.string().optional(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()),
  }),
]);

const usage = z.strictObject({
  input: count.optional(),
  output: count.optional(),
  cacheRead: count.optional(),
  cacheWrite5m: count.optional(),
  cacheWrite1h: count.optional(),
  reasoning: count.optional(),
});

export const stops = ['end', 'tool', 'length', 'stop_sequence', 'refusal'] as const;

export const scriptSchema = z.strictObject({
  /** The model name that it answers; absent: every model. */
  model: z.string().optional(),
  /** After so many requests the script is dropped; absent: it stays until a reset. */
  times: z.int().min(1).optional(),

  /** What is said. Absent: `tokens` words of text. */
  blocks: z.array(block).optional(),
  tokens: count.max(1_000_000).optional(),
  /** Calls this many of the tools that the request offers, unless its last turn already is a tool's result. */
  toolCalls: z.int().min(1).max(64).optional(),
  stop: z.enum(stops).optional(),
  stopSequence: z.string().optional(),
  /** Overrides the members that it names; the others are counted from the request and the answer. */
  usage: usage.optional(),

  /** An error in the legal shape of the caller's dialect. */
  error: z.int().min(400).max(599).optional(),
  /** Sent verbatim instead of an answer: one chunk a string. */
  reply: z
    .strictObject({
      status: z.int().min(200).max(599).default(200),
      headers: z.record(z.string(), z.string()).default({}),
      chunks: z.array(z.string()),
    })
    .optional(),
  /** Headers added to whatever is answered, e.g. `retry-after`, `request-id`. */
  headers: z.record(z.string(), z.string()).optional(),

  /** Wait before the status line. */
  latencyMs: count.optional(),
  /** The status line and headers trickle out: one byte each so many milliseconds. */
  headerByteMs: count.optional(),
  /** Wait between the headers and the first event. */
  firstEventMs: count.optional(),
  tokensPerSecond: z.number().positive().optional(),

  /** The connection is reset before any answer. */
  reset: z.boolean().optional(),
  /** The request is read and never answered. */
  never: z.boolean().optional(),
  /**
   * After so many chunks nothing more comes (`stall`), or the socket is destroyed (`cut`); the chunk with this index is
   * broken JSON (`malformed`). Chunks are the SSE events of a stream, or the two halves of a whole body.
   */
  stallAfter: count.optional(),
  cutAfter: count.optional(),
  malformedAt: count.optional(),
});

export type Script = z.output<typeof scriptSchema>;
export type ScriptInput = z.input<typeof scriptSchema>;
export type Block = z.output<typeof block>;
export type Stop = (typeof stops)[number];

const directives: Record<string, (value: number) => ScriptInput> = {
  tokens: (tokens) => ({ tokens }),
  tools: (toolCalls) => ({ toolCalls }),
  thinking: () => ({
    blocks: [
      { type: 'thinking', thinking: 'The mock weighs its words.', signature: 'bW9jay1zaWduYXR1cmU=' },
      { type: 'text', text: 'Mock answer after thinking.' },
    ],
  }),
  error: (error) => ({ error }),
  latency: (latencyMs) => ({ latencyMs }),
  first: (firstEventMs) => ({ firstEventMs }),
  rate: (tokensPerSecond) => ({ tokensPerSecond }),
  slow: (headerByteMs) => ({ headerByteMs }),
  stall: (stallAfter) => ({ stallAfter }),
  cut: (cutAfter) => ({ cutAfter }),
  malformed: (malformedAt) => ({ malformedAt }),
  reset: () => ({ reset: true }),
  never: () => ({ never: true }),
};

/**
 * Reads `mock-WORD[-NUMBER]…`; any other model name is an empty script.
 * Null when a word is not a directive: the provider then has no such model.
 */
export function scriptOfModel(model: string): Script | null {
  if (!model.startsWith('mock-')) return {};
  const script: ScriptInput = {};
  for (const [, word = '', number = '1'] of model.slice('mock'.length).matchAll(/-([^-]*)(?:-(\d+))?/g)) {
    const directive = directives[word];
    if (directive === undefined) return null;
    Object.assign(script, directive(Number(number)));
  }
  return scriptSchema.safeParse(script).data ?? null;
}
