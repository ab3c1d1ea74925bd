import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AssistantBlock, Conversation, Tool, UserBlock } from './conversation.ts';

// The tokenizer takes time quadratic in the length of an unbroken run of letters, and the text is a stranger's. Cutting
// it costs a token at most at each cut, and none before a space.
const sliceChars = 500;
// A body may be large: other calls get their turn in between.
const slicesPerTurn = 50;

// Text that looks like a control token is text.
const asText = { disallowedSpecial: new Set<string>() };

/** What ties a turn, a call, a result or a tool together in a model's own template: vendors document 3 or 4. */
const frameTokens = 4;

/** An image, whatever its size: about the most that one counts as at Anthropic. */
export const imageTokens = 1_600;

/** A document that is not plain text: one page at Anthropic's own figure, since nobody here reads how many it has. */
export const documentTokens = 3_000;

/** What a conversation takes of a model's window, as far as can be said without the model's own tokenizer. */
export interface PromptTokens {
  /** System prompts, tools and the form of the answer: what every turn of the conversation brings along. */
  readonly fixed: number;
  /** Turn by turn, block by block. */
  readonly turns: readonly (readonly number[])[];
}

/**
 * Estimates the tokens of all that a model is shown: each string through one public tokenizer (o200k), media by constants.
 * Reasoning counts by its readable text. Never more than the bytes of the request, where it has no media.
 * @throws the reason of the signal, which is looked at every few milliseconds
 */
export async function estimateTokens(
  { system, tools, outputFormat, turns }: Conversation,
  signal: AbortSignal,
): Promise<PromptTokens> {
  const counter = await createCounter(signal);
  let fixed = 0;
  for (const { text } of system) fixed += await counter.count(text);
  for (const tool of tools) fixed += frameTokens + (await counter.count(textOf(tool)));
  if (outputFormat?.schema) fixed += await counter.count(JSON.stringify(outputFormat.schema));
  const counted: number[][] = [];
  for (const { blocks } of turns) {
    const counts: number[] = [];
    for (const block of blocks) counts.push(await countBlock(block, counter));
    counted.push(counts);
  }
  return { fixed, turns: counted };
}

/** Of a whole prompt. */
export function totalTokens({ fixed, turns }: PromptTokens): number {
  return turns.reduce((sum, counts) => sum + turnTokens(counts), fixed);
}

/** Of a turn with blocks of these sizes. */
export function turnTokens(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, frameTokens);
}

function textOf({ name, description, schema, freeform }: Tool): string {
  return [name, description ?? '', freeform ? '' : JSON.stringify(schema)].join(' ').trim();
}

async function countBlock(block: UserBlock | AssistantBlock, counter: Counter): Promise<number> {
  switch (block.type) {
    case 'text':
    case 'reasoning':
      return counter.count(block.text);
    case 'image':
      return imageTokens;
    case 'document': {
      const { source } = block;
      return source.kind === 'text' ? counter.count(source.text) : documentTokens;
    }
    case 'tool_call':
      return frameTokens + (await counter.count(block.name)) + (await counter.count(block.argumentsJson));
    default: {
      let tokens = frameTokens;
      for (const part of block.content) tokens += await countBlock(part, counter);
      return tokens;
    }
  }
}

interface Counter {
  count(text: string): Promise<number>;
}

async function createCounter(signal: AbortSignal): Promise<Counter> {
  // Its tables are large, and most gates never need them.
  const { countTokens } = await import('gpt-tokenizer/encoding/o200k_base');
  let slices = 0;
  return {
    count: async (text) => {
      let tokens = 0;
      for (let at = 0; at < text.length;) {
        const slice = nextSlice(text, at);
        tokens += countTokens(slice, asText);
        at += slice.length;
        if (++slices % slicesPerTurn === 0) await nextTurn();
        signal.throwIfAborted();
      }
      return tokens;
    },
  };
}

function nextSlice(text: string, at: number): string {
  const slice = text.slice(at, at + sliceChars);
  const space = at + sliceChars < text.length ? slice.lastIndexOf(' ') : 0;
  return space > 0 ? slice.slice(0, space) : slice;
}
