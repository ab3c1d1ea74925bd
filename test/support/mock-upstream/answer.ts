import { createHash } from 'node:crypto';
import type { Block, Script, Stop } from './script.ts';

/** What a request asks for, whichever dialect it came in. */
export interface Asked {
  readonly model: string;
  readonly stream: boolean;
  /** Chat Completions: the final usage chunk was asked for. */
  readonly streamUsage: boolean;
  readonly maxTokens: number;
  readonly choices: number;
  readonly tools: readonly { readonly name: string; readonly schema: unknown }[];
  readonly endsWithToolResult: boolean;
}

/** Tokens by class; classes do not overlap, except that `reasoning` is a part of `output`. */
export interface Tokens {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite5m: number;
  readonly cacheWrite1h: number;
  readonly reasoning: number;
}

/** A block and the pieces it is streamed in: one piece is one token. */
export interface Spoken {
  readonly block: Block;
  readonly id: string;
  readonly pieces: readonly string[];
}

export interface Answer {
  readonly id: string;
  readonly model: string;
  readonly choices: number;
  readonly spoken: readonly Spoken[];
  readonly stop: Stop;
  readonly stopSequence: string | null;
  readonly tokens: Tokens;
}

/** One write of the answer, and how many output tokens it carries. */
export interface Chunk {
  readonly text: string;
  readonly tokens: number;
}

const defaultTokens = 12;
const bytesPerToken = 4;
const argumentCharsPerToken = 8;

/** The answer to the nth request; the same request and script give the same answer. */
export function compose(asked: Asked, script: Script, sequence: number, bodyBytes: number): Answer {
  const wanted = script.blocks ?? toolCalls(asked, script) ?? [textOf(script.tokens ?? defaultTokens)];
  const { spoken, truncated } = fit(
    wanted.map((block, index) => speak(block, `${sequence}_${index}`)),
    asked.maxTokens,
  );
  const output = countTokens(spoken.map((each) => each.pieces)) * asked.choices;
  const counted = {
    input: countInput(bodyBytes),
    output,
    cacheRead: 0,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    reasoning: countTokens(spoken.filter((each) => each.block.type === 'thinking').map((each) => each.pieces)),
  };
  const calls = spoken.some((each) => each.block.type === 'tool_call');
  return {
    id: createHash('sha256').update(`mock ${sequence}`).digest('hex').slice(0, 24),
    model: asked.model,
    choices: asked.choices,
    spoken,
    stop: truncated ? 'length' : (script.stop ?? (calls ? 'tool' : 'end')),
    stopSequence: script.stopSequence ?? null,
    tokens: Object.assign(counted, script.usage),
  };
}

/** Input tokens of a request with so many bytes: a fixed ratio, since tests need one figure that they can foretell. */
export function countInput(bodyBytes: number): number {
  return Math.ceil(bodyBytes / bytesPerToken);
}

function countTokens(pieces: readonly (readonly string[])[]): number {
  return pieces.reduce((sum, each) => sum + each.length, 0);
}

function textOf(tokens: number): Block {
  return { type: 'text', text: Array.from({ length: tokens }, (_, index) => `word${index + 1}`).join(' ') };
}

function toolCalls(asked: Asked, script: Script): Block[] | null {
  if (script.toolCalls === undefined || asked.tools.length === 0 || asked.endsWithToolResult) return null;
  return Array.from({ length: script.toolCalls }, (_, index) => {
    const tool = asked.tools[index % asked.tools.length];
    return { type: 'tool_call', name: tool?.name ?? '', input: example(tool?.schema) as Record<string, unknown> };
  });
}

/** A small value that the JSON Schema allows, as far as type, enum, properties and required say. */
function example(schema: unknown): unknown {
  const { type: types, enum: choices, properties, required } = (schema ?? {}) as Record<string, unknown>;
  if (Array.isArray(choices)) return choices[0];
  const type: unknown = Array.isArray(types) ? types[0] : types;
  if (type === 'string') return 'mock';
  if (type === 'number' || type === 'integer') return 1;
  if (type === 'boolean') return true;
  if (type === 'array') return [];
  const members = Object.entries(properties ?? {});
  return Object.fromEntries(
    members
      .filter(([name]) => Array.isArray(required) && required.includes(name))
      .map(([name, member]) => [name, example(member)]),
  );
}

function speak(block: Block, suffix: string): Spoken {
  if (block.type === 'text') return { block, id: '', pieces: words(block.text) };
  if (block.type === 'thinking') return { block, id: '', pieces: words(block.thinking) };
  const pieces = JSON.stringify(block.input).match(new RegExp(`.{1,${argumentCharsPerToken}}`, 'gsu')) ?? [];
  return { block, id: block.id ?? `mock_${suffix}`, pieces };
}

/** Splits without loss: each word with the white space before it, and what trails. */
function words(text: string): string[] {
  return text.match(/\s*\S+|\s+$/gu) ?? [];
}

/** Keeps to the caller's limit: text is cut at it, a tool call that does not fit whole is left out. */
function fit(spoken: readonly Spoken[], maxTokens: number): { spoken: Spoken[]; truncated: boolean } {
  const kept: Spoken[] = [];
  let left = maxTokens;
  for (const each of spoken) {
    if (each.pieces.length <= left) {
      kept.push(each);
      left -= each.pieces.length;
      continue;
    }
    const pieces = each.pieces.slice(0, left);
    const text = pieces.join('');
    if (each.block.type === 'text') kept.push({ ...each, pieces, block: { type: 'text', text } });
    if (each.block.type === 'thinking') kept.push({ ...each, pieces, block: { ...each.block, thinking: text } });
    return { spoken: kept, truncated: true };
  }
  return { spoken: kept, truncated: false };
}
