import { eventsIn } from './sse-text.ts';
import { type ContentBlock, type StreamContent, insist } from './stream-content.ts';

/**
 * Checks a stream of Chat Completions chunks against the vendor's description ("The chat completion chunk object"),
 * written without a look at the encoder: chunks of one id; the first names the role; a tool call's first part gives
 * id, type and name, later parts only arguments; indexes without gaps; one finish_reason, then at most a chunk with usage
 * and no choices, then [DONE]; an object with `error` ends everything, without [DONE].
 */
export function readChatStream(text: string): StreamContent {
  let content: ContentBlock | null = null;
  const calls: Extract<ContentBlock, { type: 'tool_call' }>[] = [];
  let phase: 'new' | 'open' | 'finished' | 'usage' | 'done' | 'failed' = 'new';
  let stop: string | null = null;
  let usage: unknown = null;
  let id: unknown;
  for (const { event, data } of eventsIn(text)) {
    insist(event === 'message', `a named event ${event}`);
    insist(phase !== 'done' && phase !== 'failed', 'something after the end');
    if (data === '[DONE]') {
      insist(phase === 'finished' || phase === 'usage', `[DONE] in phase ${phase}`);
      phase = 'done';
      continue;
    }
    const chunk = JSON.parse(data);
    if (chunk.error !== undefined) {
      insist(typeof chunk.error.message === 'string', 'an error without text');
      phase = 'failed';
      continue;
    }
    insist(chunk.object === 'chat.completion.chunk' && Number.isInteger(chunk.created), 'not a chunk');
    insist(id === undefined || chunk.id === id, 'another id');
    id = chunk.id;
    const [choice] = chunk.choices;
    if (choice === undefined) {
      insist(phase === 'finished' && Number.isInteger(chunk.usage.prompt_tokens), `no choices in phase ${phase}`);
      usage = chunk.usage;
      phase = 'usage';
      continue;
    }
    insist(phase === 'new' || phase === 'open', `a choice in phase ${phase}`);
    insist(
      (phase === 'new') === (choice.delta.role === 'assistant'),
      'the role stands in the first chunk and there alone',
    );
    insist(choice.index === 0 && (chunk.usage ?? null) === null, 'another choice, or usage before the end');
    phase = 'open';
    if (typeof choice.delta.content === 'string') {
      content ??= { type: 'text', text: '', closed: false };
      content.text += choice.delta.content;
    }
    for (const part of choice.delta.tool_calls ?? []) readPart(part, calls);
    if (choice.finish_reason !== null) {
      insist(legalReasons.has(choice.finish_reason), `finish_reason ${choice.finish_reason}`);
      stop = choice.finish_reason;
      phase = 'finished';
    }
  }
  const ended = phase === 'done';
  const blocks = [...(content === null ? [] : [content]), ...calls].map((block) => ({ ...block, closed: ended }));
  return { blocks, ending: ended ? 'finished' : phase === 'failed' ? 'failed' : 'open', stop, usage };
}

const legalReasons = new Set(['stop', 'length', 'tool_calls', 'content_filter', 'function_call']);

interface Part {
  readonly index: number;
  readonly id?: string;
  readonly type?: string;
  readonly function: { readonly name?: string; readonly arguments: string };
}

function readPart(part: Part, calls: Extract<ContentBlock, { type: 'tool_call' }>[]): void {
  insist(part.index <= calls.length, `tool call ${part.index} after ${calls.length} calls`);
  const call = calls[part.index];
  if (call === undefined) {
    insist(part.type === 'function', 'a tool call without type');
    insist(Boolean(part.id) && Boolean(part.function.name), 'a tool call without id or name');
    const { id = '', function: fn } = part;
    calls.push({ type: 'tool_call', id, name: fn.name ?? '', argumentsJson: fn.arguments, closed: false });
  } else {
    insist(part.id === undefined && part.function.name === undefined, 'a tool call that begins twice');
    call.argumentsJson += part.function.arguments;
  }
}
